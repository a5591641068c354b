-- SCFs that are done: taken over from an earlier job, or dropped.
-- needs: keys, tasks, twins

-- Takes over the forces of an earlier SCF for a task; returns whether there are any for these physics.
local function reuse(job, owner, task, physics, keep_ms)
  local scf = key('scf', owner, redis.call('LINDEX', key('job', job, 'scf'), task))
  local found = redis.call('HMGET', scf, 'report ' .. physics, 'run ' .. physics, 'by ' .. physics)
  if not found[1] or not found[2] then return false end
  local has_twin = redis.call('HEXISTS', key('job', job, 'twins'), task) == 1
  if has_twin and (not found[3] or is_for_another(job, task, found[3])) then return false end
  local run = cjson.decode(found[2])
  run.task, run.reused = tonumber(task), true
  redis.call('HSET', key('job', job, 'reports'), task, found[1])
  redis.call('HSET', key('job', job, 'runs'), task, cjson.encode(run))
  if found[3] then redis.call('HSET', key('job', job, 'by'), task, found[3]) end
  redis.call('HINCRBY', key('job', job), 'reused', 1)
  redis.call('PEXPIRE', scf, keep_ms)
  return true
end

-- Drops a stored SCF, so that its task can be run again. Neither this job nor a later one is to meet it again.
local function drop_report(job, task)
  local f = redis.call('HMGET', key('job', job), 'owner', 'fingerprint')
  local report = redis.call('HGET', key('job', job, 'reports'), task)
  local run = redis.call('HGET', key('job', job, 'runs'), task)
  if not report then return end
  redis.call('SADD', key('job', job, 'dropped'), redis.sha1hex(report))
  local scf = redis.call('LINDEX', key('job', job, 'scf'), task)
  if scf and scf ~= '' and f[2] then
    redis.call('HDEL', key('scf', f[1], scf), 'report ' .. f[2], 'run ' .. f[2], 'by ' .. f[2],
      'setup ' .. f[2])
  end
  if run and cjson.decode(run).reused then redis.call('HINCRBY', key('job', job), 'reused', -1) end
  for _, part in ipairs({'reports', 'runs', 'by'}) do redis.call('HDEL', key('job', job, part), task) end
  open_task(job, task)
end
