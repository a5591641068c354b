-- Leases: what they hold, how they are renewed, and how they end.
-- needs: call, keys, tasks, workers

local TOMBSTONE_MS = 30 * 86400 * 1000  -- so long, or as long as its job, is an ended lease remembered for late reports

-- The lease's record if it was given to this worker for this job, else nil. What a revoked worker says counts no more.
local function own_lease(lease, worker, job)
  local record = redis.call('HMGET', key('lease', lease), 'worker', 'job', 'state', 'recalled', 'engine',
    'engine_version', 'stage')
  if record[1] == worker and record[2] == job and not is_revoked(worker) then
    return {state = record[3], recalled = record[4], engine = record[5] or '', engine_version = record[6] or '',
      stage = record[7] or 'vibrations'}
  end
  return nil
end

-- The unfinished tasks of a lease, in the order in which a worker runs them.
local function tasks_of(lease)
  local tasks = {}
  for _, task in ipairs(redis.call('SMEMBERS', key('lease', lease, 'tasks'))) do
    table.insert(tasks, tonumber(task))
  end
  table.sort(tasks)
  return tasks
end

-- The tasks a lease still has, if some were taken out of it: its worker must not begin those.
local function left_of(lease, recalled)
  return recalled and tasks_of(lease) or nil
end

local function renew(lease, ttl_ms)
  if redis.call('ZADD', P .. 'leases', 'XX', 'CH', now + ttl_ms, lease) == 1 then
    redis.call('HINCRBY', key('lease', lease), 'renewals', 1)
  end
end

-- Renews every lease of this worker process. A worker that names no instance renews nothing this way,
-- so that one which was restarted does not keep its predecessor's leases alive.
local function renew_all(worker, instance, ttl_ms)
  if instance == '' then return end
  for _, lease in ipairs(redis.call('SMEMBERS', key('worker', worker, 'leases'))) do
    if redis.call('HGET', key('lease', lease), 'instance') == instance then
      redis.call('ZADD', P .. 'leases', 'XX', now + ttl_ms, lease)
      redis.call('HINCRBY', key('lease', lease), 'renewals', 1)
    end
  end
end

-- Every call of a worker is a sign of life, until it has said goodbye.
local function heard(worker, instance, ttl_ms)
  if has_ended(worker, instance) then return end
  seen(worker)
  renew_all(worker, instance, ttl_ms)
end

-- Ends a lease. Its unfinished tasks must have been dealt with by the caller.
local function end_lease(lease, state)
  local record = key('lease', lease)
  redis.call('ZREM', P .. 'leases', lease)
  redis.call('ZREM', P .. 'spare', lease)
  redis.call('SREM', key('worker', redis.call('HGET', record, 'worker'), 'leases'), lease)
  redis.call('DEL', record .. ':tasks')
  redis.call('HSET', record, 'state', state, 'ended', now)
  redis.call('PEXPIRE', record, TOMBSTONE_MS)
  -- A little longer: a lease without it would be one from before leases remembered what they were given.
  redis.call('PEXPIRE', record .. ':given', TOMBSTONE_MS + 60000)
end

local function settle_if_empty(lease)
  if redis.call('SCARD', key('lease', lease, 'tasks')) == 0
      and redis.call('HGET', key('lease', lease), 'state') == 'held' then
    end_lease(lease, 'settled')
  end
end

-- Gives a task back, to be run by anybody at once; returns whether the lease had it.
local function release_task(lease, job, task)
  if redis.call('SREM', key('lease', lease, 'tasks'), task) == 0 then return false end
  open_task(job, task)
  return true
end

-- Gives all of a lease's unfinished tasks back.
local function release_lease(lease, state)
  local job = redis.call('HGET', key('lease', lease), 'job')
  for _, task in ipairs(redis.call('SMEMBERS', key('lease', lease, 'tasks'))) do
    open_task(job, task)
  end
  end_lease(lease, state)
  return job
end

local function release_all_leases(job, state)
  for _, lease in ipairs(redis.call('HVALS', key('job', job, 'held'))) do
    if redis.call('HGET', key('lease', lease), 'state') == 'held' then
      release_lease(lease, state)
    end
  end
end

-- The worker is not to be offered this job again before its capabilities change. They are those with which it
-- took the lease: another process of the same worker may have others.
local function avoid(job, worker, lease, why)
  local digest = redis.call('HGET', key('lease', lease), 'digest')
  redis.call('HSET', key('job', job, 'avoid'), worker .. ' ' .. digest, why)
end
