-- Tasks that two workers compute, to be compared.
-- needs: keys

-- The worker that computed a task or has it now; nil if nobody does. With a task that is computed twice, it is never
-- the same worker for both.
local function worker_of(job, task)
  local by = redis.call('HGET', key('job', job, 'by'), task)
  if by then return by end
  local lease = redis.call('HGET', key('job', job, 'held'), task)
  return lease and redis.call('HGET', key('lease', lease), 'worker') or nil
end

-- Whether a worker must leave a task to others, because the same SCF of this job is its own already.
local function is_for_another(job, task, worker)
  local twin = redis.call('HGET', key('job', job, 'twins'), task)
  return twin and worker_of(job, twin) == worker
end
