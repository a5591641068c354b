-- Takes back what a worker computed in some jobs: unfinished ones have it computed anew, finished ones are marked.
-- a: worker, jobs, retire_ms    Returns {reopened [jobs], marked [jobs]}.
-- needs: call, ends, history, keys, line, news, physics, retention, scfs, status, tasks, workers

local name = worker_name(a.worker)

-- The tasks of a job that it computed, for this job or for one that this job took them over from. Of those that do not
-- say it by an id, its name does.
local function its_tasks(job)
  local tasks = {}
  local runs = redis.call('HGETALL', key('job', job, 'runs'))
  for i = 1, #runs, 2 do
    local by = redis.call('HGET', key('job', job, 'by'), runs[i])
    if by == a.worker or (not by and cjson.decode(runs[i + 1]).worker == name) then table.insert(tasks, runs[i]) end
  end
  return tasks
end

local function mark(job)
  local names = cjson.decode(job_field(job, 'taken_back') or '[]')
  for _, known in ipairs(names) do
    if known == name then return false end
  end
  table.insert(names, name)
  redis.call('HSET', key('job', job), 'taken_back', cjson.encode(names))
  remember(job, {what = 'taken back', worker = a.worker, message = 'the worker was revoked with its results'})
  set_status(job, 'finished', 'a part of this result is from ' .. table.concat(names, ', ')
    .. ', revoked since with all results: submit the job again')
  return true
end

local function reopen(job, tasks, settled)
  -- A result of it that is being made must not be stored any more.
  redis.call('ZREM', P .. 'assemble', job)
  redis.call('HINCRBY', key('job', job), 'generation', 1)
  for _, task in ipairs(tasks) do drop_report(job, task) end
  if settled then
    redis.call('DEL', key('job', job, 'settled'))
    redis.call('HDEL', key('job', job, 'by'), '*')
    redis.call('HDEL', key('job', job), 'settled_by')
    for task = 0, tonumber(job_field(job, 'total')) - 1 do
      if redis.call('HEXISTS', key('job', job, 'reports'), task) == 0 then open_task(job, task) end
    end
  end
  unpin_if_empty(job)
  local message = 'worker ' .. name .. ' was revoked with its results; what it computed is computed anew'
  remember(job, {what = 'taken back', worker = a.worker, message = message, tasks = tasks})
  place(job)
  if job_field(job, 'status') == 'failed' then
    touch(job)
    announce_job(job)
  else
    settle_status(job, message)
  end
end

-- All that follows from a relaxation stands on its steps.
local function undo_relaxation(job)
  redis.call('HINCRBY', key('job', job), 'generation', 1)
  redis.call('DEL', key('job', job, 'relaxed_by'), key('job', job, 'steps'), key('job', job, 'course'))
  redis.call('HDEL', key('job', job), 'ionic_step', 'max_force', 'steps_from')
  if job_field(job, 'stage') == 'relax' then return true end
  local message = 'the structure was relaxed by worker ' .. name .. ', which was revoked with its results: submit the job again'
  local error = {side = 'compute', code = 'relaxation_taken_back', message = message, worker = name}
  remember(job, {what = 'failed', class = 'result', code = error.code, message = message})
  fail_job(job, error, message)
  -- It cannot go on from here.
  redis.call('ZREM', P .. 'dlq', job)
  retain(job, a.retire_ms)
  return false
end

local out = {reopened = {}, marked = {}}
for _, job in ipairs(a.jobs) do
  local status = job_field(job, 'status')
  local tasks = status and its_tasks(job) or {}
  local settled = redis.call('HGET', key('job', job, 'by'), '*') == a.worker
  local relaxed = redis.call('SISMEMBER', key('job', job, 'relaxed_by'), a.worker) == 1
  if #tasks == 0 and not settled and not relaxed then
    -- Nothing of it is in there.
  elseif status == 'finished' then
    if mark(job) then table.insert(out.marked, job) end
  elseif status ~= 'cancelled' and not is_discarded(job, status) then
    if not relaxed or undo_relaxation(job) then
      reopen(job, tasks, settled)
      table.insert(out.reopened, job)
    end
  end
end
return cjson.encode(out)
