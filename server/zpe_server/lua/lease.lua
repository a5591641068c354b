-- Gives a worker a share of the first job in line that it can run.
-- a: worker, instance, lease, ttl_ms, max_tasks (0: the whole job, which nobody else may be working on),
--    scan, engine ('': unknown), environ, pseudopotentials (object used as a set, or null: unknown), digest
-- ARGV[2]: the capabilities in full, to be shown
-- Returns {job, lease, tasks, payload, task_table, request_id}, or {} when there is nothing to do, or
-- {blocked = true} when there is, but not for this worker.

local function can_run(job)
  if redis.call('HGET', key('job', job, 'avoid'), a.worker) == a.digest then return false end
  -- A worker that does whole jobs would do again what others did or do.
  if a.max_tasks == 0 and redis.call('ZCARD', key('job', job, 'open')) < tonumber(job_field(job, 'total')) then
    return false
  end
  local fields = redis.call('HMGET', key('job', job), 'needs', 'engine')
  -- Once a job has a result, only the same kind of engine can add to it.
  if fields[2] and a.engine ~= '' and fields[2] ~= a.engine then return false end
  if a.engine == 'mock' or not fields[1] then return true end
  local needs = cjson.decode(fields[1])
  if needs.environ and a.pseudopotentials ~= cjson.null and not a.environ then return false end
  if a.pseudopotentials ~= cjson.null then
    for _, name in ipairs(needs.pseudopotentials) do
      if not a.pseudopotentials[name] then return false end
    end
  end
  return true
end

local function take(job)
  local open = key('job', job, 'open')
  local tasks
  if a.max_tasks == 0 then
    tasks = redis.call('ZRANGE', open, 0, -1)
  else
    tasks = redis.call('ZRANGEBYSCORE', open, '-inf', now, 'LIMIT', 0, a.max_tasks)
  end
  if #tasks == 0 then return nil end
  for _, task in ipairs(tasks) do
    redis.call('ZREM', open, task)
    redis.call('HSET', key('job', job, 'held'), task, a.lease)
    redis.call('SADD', key('lease', a.lease, 'tasks'), task)
  end
  return tasks
end

local function reply(job, tasks)
  local f = redis.call('HMGET', key('job', job), 'payload', 'tasks', 'request_id')
  return cjson.encode({
    job = job, lease = a.lease, tasks = tasks, payload = f[1], task_table = f[2], request_id = f[3] or nil,
  })
end

seen(a.worker)
renew_all(a.worker, a.instance, a.ttl_ms)
if redis.call('HGET', key('worker', a.worker), 'digest') ~= a.digest then
  redis.call('HSET', key('worker', a.worker), 'digest', a.digest, 'capabilities', ARGV[2])
end

local known = redis.call('HMGET', key('lease', a.lease), 'state', 'job')
if known[1] == 'held' then
  renew(a.lease, a.ttl_ms)
  return reply(known[2], redis.call('SMEMBERS', key('lease', a.lease, 'tasks')))
elseif known[1] then
  return '{}'
end
if redis.call('HGET', P .. 'flags', 'dequeue_enabled') == '0' then return '{}' end
if redis.call('HGET', key('worker', a.worker), 'draining') == '1' then return '{}' end

local blocked = nil
for _, job in ipairs(redis.call('ZRANGE', P .. 'ready', 0, a.scan - 1)) do
  blocked = true
  local tasks = can_run(job) and take(job)
  if tasks then
    redis.call('HSET', key('lease', a.lease), 'job', job, 'worker', a.worker, 'instance', a.instance,
      'state', 'held', 'issued', now, 'ttl_ms', a.ttl_ms, 'renewals', 0, 'count', #tasks,
      'whole', a.max_tasks == 0 and 1 or 0)
    redis.call('ZADD', P .. 'leases', now + a.ttl_ms, a.lease)
    redis.call('SADD', key('worker', a.worker, 'leases'), a.lease)
    redis.call('SADD', key('job', job, 'workers'), a.worker)
    redis.call('HSETNX', key('job', job), 'started', now)
    set_status(job, 'started')
    local first = redis.call('ZRANGE', key('job', job, 'open'), 0, 0, 'WITHSCORES')
    if #first == 0 or tonumber(first[2]) > now then place(job) end
    return reply(job, tasks)
  end
end
return cjson.encode({blocked = blocked})
