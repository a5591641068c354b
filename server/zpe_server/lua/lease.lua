-- Gives a worker a share of the first job in line that it can run.
-- a: worker, instance, lease, ttl_ms, max_tasks (0: the whole job, which nobody else may be working on),
--    alive_ms (whoever was heard of so long ago counts as a worker), warm [jobs it has densities of], warm_turns,
--    offset, scan (which part of the line to look at), or of_job (the one job wanted),
--    force (skip the capability check; the lease only serves to report a failure),
--    able {engine, engine_version ('': unknown), environ, environ_input (Environ with an input that the job brings), relaxes,
--      pseudopotentials (a set, or absent: unknown), slots (SCFs it runs at once), cores, memory_gb, tags (a set), digest}
-- ARGV[2]: the capabilities in full, to be shown
-- Returns {job, lease, tasks, payload, task_table, request_id, more (whether others wait), starts (task -> density, of
-- tasks that are run again), steps (of its relaxation, that are stored), steps_from (those that do not count), course (where
-- it goes on)}, or {} when there is nothing to do, or
-- {blocked = true} when there is, but not for this worker; {next = offset} where the line goes on.
-- needs: call, keys, leases, line, physics, status, tasks, twins, versions, workers

local able = a.able

-- Whether the worker has what a job needs. What a job waits for when no worker has it, is told with its status.
local function is_equipped(job)
  local needs = job_field(job, 'needs')
  if not needs then return true end
  needs = cjson.decode(needs)
  -- Springs never serve a job that is for pw.x, nor the other way round. Of one that does not tell what it runs, the
  -- results are looked at.
  if able.engine ~= '' and able.engine ~= engine_of(job, needs) then return false end
  if needs.relaxes and not able.relaxes then return false end
  if able.cores < (needs.cores or 0) or able.memory_gb < (needs.memory_gb or 0) then return false end
  for _, tag in ipairs(needs.tags or {}) do
    if not able.tags[tag] then return false end
  end
  -- One that does not tell may be too old to know of it, and would compute with another input.
  if needs.environ_input and able.engine ~= 'mock' and not able.environ_input then return false end
  if able.engine == 'mock' then return true end
  if not has_version(able.engine_version, needs) then return false end
  if not able.pseudopotentials then return true end
  if needs.environ and not able.environ then return false end
  for _, file in ipairs(needs.pseudopotentials) do
    if not able.pseudopotentials[file] then return false end
  end
  return true
end

-- The first tasks that are due and may be this worker's.
local function takeable(job, most, twins)
  local due = {key('job', job, 'open'), '-inf', now}
  if not twins then return redis.call('ZRANGEBYSCORE', due[1], due[2], due[3], 'LIMIT', 0, most) end
  local tasks, chosen = {}, {}
  for _, task in ipairs(redis.call('ZRANGEBYSCORE', unpack(due))) do
    local twin = redis.call('HGET', key('job', job, 'twins'), task)
    if #tasks ~= most and not chosen[twin] and not is_for_another(job, task, a.worker) then
      table.insert(tasks, task)
      chosen[task] = true
    end
  end
  return tasks
end

-- A job that nobody works on says why workers that have what it needs do not take it.
local function explain(job, why)
  local f = redis.call('HMGET', key('job', job), 'status', 'detail')
  if f[1] == 'queued' and string.sub(f[2], 1, #WAITING) ~= WAITING then
    set_status(job, 'queued', WAITING .. why)
  end
end

-- With fewer jobs than workers, several have to work on one. Each takes an equal part of what is left, so the parts
-- get smaller towards the end and all are through at about the same time.
local function share(job)
  local workers = redis.call('ZCOUNT', P .. 'workers', now - a.alive_ms, '+inf')
  local per_job = math.max(1, math.ceil(workers / redis.call('ZCARD', P .. 'ready')))
  local due = redis.call('ZCOUNT', key('job', job, 'open'), '-inf', now)
  return math.min(a.max_tasks, math.ceil(due / per_job))
end

-- The tasks of a job that this worker gets; else nil, and what keeps it from the job.
local function choose(job)
  local why = redis.call('HGET', key('job', job, 'avoid'), a.worker .. ' ' .. able.digest)
  if why then return nil, why end
  local twins = redis.call('EXISTS', key('job', job, 'twins')) == 1
  if a.max_tasks ~= 0 then
    local tasks = takeable(job, share(job), twins)
    if twins and #tasks == 0 then
      return nil, 'another worker than ' .. worker_name(a.worker) .. ' is to compute again what this one has computed'
    end
    return tasks
  end
  why = 'worker ' .. worker_name(a.worker) .. ' takes whole jobs only, and '
  if twins then return nil, why .. 'two workers are to compute SCFs of this one' end
  if (job_field(job, 'kind') or 'vibrations') ~= 'vibrations' then
    return nil, why .. 'knows of no others than vibrational calculations'
  end
  -- It would do again what others did or do, or what waits for its next try.
  local due = redis.call('ZCOUNT', key('job', job, 'open'), '-inf', now)
  local known = redis.call('SMEMBERS', key('job', job, 'reserved'))
  if due + #known < tonumber(job_field(job, 'total')) then
    return nil, why .. 'a part of this one is done or not due'
  end
  -- It will not tell of single tasks, so there is nothing to take over.
  for _, task in ipairs(known) do open_task(job, task) end
  redis.call('DEL', key('job', job, 'reserved'))
  return takeable(job, -1, false)
end

local function take(job, tasks)
  for _, task in ipairs(tasks) do
    redis.call('ZREM', key('job', job, 'open'), task)
    redis.call('HSET', key('job', job, 'held'), task, a.lease)
    redis.call('SADD', key('lease', a.lease, 'tasks'), task)
    redis.call('SADD', key('lease', a.lease, 'given'), task)
  end
  redis.call('HSET', key('lease', a.lease), 'job', job, 'worker', a.worker, 'instance', a.instance,
    'digest', able.digest, 'state', 'held', 'issued', now, 'ttl_ms', a.ttl_ms, 'renewals', 0, 'count', #tasks,
    'slots', able.slots, 'engine', able.engine, 'engine_version', able.engine_version,
    'stage', job_field(job, 'stage') or 'vibrations', 'whole', a.max_tasks == 0 and 1 or 0)
  redis.call('ZADD', P .. 'leases', now + a.ttl_ms, a.lease)
  if a.max_tasks ~= 0 and #tasks > able.slots then redis.call('ZADD', P .. 'spare', now, a.lease) end
  redis.call('SADD', key('worker', a.worker, 'leases'), a.lease)
  redis.call('SADD', key('job', job, 'workers'), a.worker)
  redis.call('SADD', key('job', job, 'leases'), a.lease)
  redis.call('HSETNX', key('job', job), 'started', now)
  set_status(job, 'started')
  move_on(job, #tasks)
  local first = redis.call('ZRANGE', key('job', job, 'open'), 0, 0, 'WITHSCORES')
  if #first == 0 or tonumber(first[2]) > now then place(job) end
end

local function reply(job, tasks)
  local f = redis.call('HMGET', key('job', job), 'payload', 'tasks', 'request_id', 'stage', 'steps_from')
  local starts = nil
  if redis.call('EXISTS', key('job', job, 'starts')) == 1 then
    starts = {}
    for _, task in ipairs(tasks) do
      starts[tostring(task)] = redis.call('HGET', key('job', job, 'starts'), task) or nil
    end
  end
  return cjson.encode({
    job = job, lease = a.lease, tasks = tasks, payload = f[1], task_table = f[2], request_id = f[3] or nil,
    more = redis.call('EXISTS', P .. 'ready') == 1 or nil, starts = starts,
    steps = f[4] == 'relax' and redis.call('LLEN', key('job', job, 'steps')) or nil,
    steps_from = f[4] == 'relax' and tonumber(f[5] or 0) or nil,
    course = f[4] == 'relax' and redis.call('GET', key('job', job, 'course')) or nil,
  })
end

-- The news that woke this worker is for others then.
local function nothing_for_it()
  return cjson.encode({blocked = redis.call('EXISTS', P .. 'ready') == 1 or nil})
end

-- It may have been shut out while its request waited for work.
if is_revoked(a.worker) then return nothing_for_it() end
heard(a.worker, a.instance, a.ttl_ms)
if redis.call('HGET', key('worker', a.worker), 'digest') ~= able.digest then
  redis.call('HSET', key('worker', a.worker), 'digest', able.digest, 'capabilities', ARGV[2])
end

local known = redis.call('HMGET', key('lease', a.lease), 'state', 'job')
if known[1] == 'held' then
  renew(a.lease, a.ttl_ms)
  return reply(known[2], redis.call('SMEMBERS', key('lease', a.lease, 'tasks')))
elseif known[1] then
  return nothing_for_it()
end
if redis.call('HGET', P .. 'flags', 'dequeue_enabled') == '0' then return '{}' end
if redis.call('HGET', key('worker', a.worker), 'draining') == '1' then return nothing_for_it() end

-- A job of which this worker has densities may go before the first in line, as long as it is not far ahead of its
-- turn: a worker that changed jobs with each share would start from scratch each time.
local function warm_first(line)
  local first = line[1] and redis.call('ZSCORE', P .. 'ready', line[1])
  for _, job in ipairs(first and a.warm or {}) do
    local score = redis.call('ZSCORE', P .. 'ready', job)
    if score and score - first <= a.warm_turns then
      table.insert(line, 1, job)
      return line
    end
  end
  return line
end

local line
if a.of_job then
  line = redis.call('ZSCORE', P .. 'ready', a.of_job) and {a.of_job} or {}
else
  line = redis.call('ZRANGE', P .. 'ready', a.offset, a.offset + a.scan - 1)
  -- Nobody waits: everybody's next turn is now.
  if #line == 0 and a.offset == 0 and redis.call('EXISTS', P .. 'delayed') == 0 then
    redis.call('DEL', P .. 'turns')
  end
end
local looked_at = #line
if a.offset == 0 then line = warm_first(line) end
for _, job in ipairs(line) do
  if a.force or is_equipped(job) then
    local tasks, why = choose(job)
    if tasks then
      take(job, tasks)
      return reply(job, tasks)
    end
    explain(job, why)
  end
end
return cjson.encode({
  blocked = a.offset + looked_at > 0 or nil,
  next = looked_at == a.scan and a.offset + a.scan or nil,
})
