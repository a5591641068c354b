-- Gives a worker a share of the first job in line that it can and may run; one with an owner does the owner's jobs first.
-- a: worker, instance, lease, ttl_ms, max_scfs (that an owner may run at once on workers of others; absent: any), max_tasks (0: the whole job, which nobody else may be working on),
--    alive_ms (whoever was heard of so long ago counts as a worker), warm [jobs it has densities of], warm_turns,
--    offset, scan (which part to look at of the owner's line and, behind it, of everybody's), or of_job (the one job wanted),
--    force (skip the capability check; the lease only serves to report a failure),
--    able {accepts (whose jobs the machine itself takes at most), engine, engine_version ('': unknown), environ,
--      environ_input (Environ with an input that the job brings), relaxes,
--      pseudopotentials (a set, or absent: unknown), slots (SCFs it runs at once), cores, memory_gb, tags (a set), digest}
-- ARGV[2]: the capabilities in full, to be shown
-- Returns {job, name, lease, tasks, payload, task_table, request_id, more (whether others wait), starts (task -> density, of
-- tasks that are run again), steps (of its relaxation, that are stored), steps_from (those that do not count), course (where
-- it goes on), waited_ms (from the submission to this, its first lease)}, or {} when there is nothing to do, or
-- {blocked = true} when there is, but not for this worker; {next = offset} where the line goes on.
-- needs: call, keys, leases, limits, line, owners, physics, status, tasks, twins, versions, workers

local able = a.able
local terms = terms_of(a.worker, able.accepts)

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

-- How many workers there are that may run a job. One without an owner runs any that is not for certain workers.
local function workers_for(job)
  local count = redis.call('ZCOUNT', P .. 'present', now - a.alive_ms, '+inf')
  if count == 0 then return 0 end
  local bounded = job_field(job, 'only') and redis.call('ZRANGEBYSCORE', P .. 'present', now - a.alive_ms, '+inf')
    or redis.call('SMEMBERS', P .. 'owned')
  for _, worker in ipairs(bounded) do
    local seen_at = tonumber(redis.call('ZSCORE', P .. 'present', worker) or 0)
    if seen_at >= now - a.alive_ms and not may_run(job, worker, terms_of(worker)) then count = count - 1 end
  end
  return count
end

-- How many SCFs more the owner of a job may run on this worker.
local function room_of(job)
  local f = redis.call('HMGET', key('job', job), 'owner', 'unlimited')
  local most = f[1] ~= terms.owner and not f[2] and limit_of(f[1], 'scfs', a.max_scfs)
  return most and most - scfs_running(f[1]) or math.huge
end

-- With fewer jobs than workers, several have to work on one. Each takes an equal part of what is left, so the parts
-- get smaller towards the end and all are through at about the same time.
local function share(job)
  local workers = workers_for(job)
  local per_job = math.max(1, math.ceil(workers / redis.call('ZCARD', P .. 'ready')))
  local due = redis.call('ZCOUNT', key('job', job, 'open'), '-inf', now)
  return math.min(a.max_tasks, math.ceil(due / per_job), room_of(job))
end

-- The tasks of a job that this worker gets; else nil, and what keeps it from the job.
local function choose(job)
  if room_of(job) < 1 then
    redis.call('SADD', P .. 'held_back', job_field(job, 'owner'))
    return nil, 'you run as many SCFs on workers of others as you may'
  end
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

local waited = nil

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
  if redis.call('HSETNX', key('job', job), 'started', now) == 1 then
    waited = now - tonumber(job_field(job, 'created'))
  end
  set_status(job, 'started')
  if terms.owner == job_field(job, 'owner') then uncount(job, #tasks) else move_on(job, #tasks) end
  local first = redis.call('ZRANGE', key('job', job, 'open'), 0, 0, 'WITHSCORES')
  if #first == 0 or tonumber(first[2]) > now then place(job) end
end

local function reply(job, tasks)
  local f = redis.call('HMGET', key('job', job), 'payload', 'tasks', 'request_id', 'stage', 'steps_from', 'name')
  local starts = nil
  if redis.call('EXISTS', key('job', job, 'starts')) == 1 then
    starts = {}
    for _, task in ipairs(tasks) do
      starts[tostring(task)] = redis.call('HGET', key('job', job, 'starts'), task) or nil
    end
  end
  return cjson.encode({
    job = job, name = f[6] or nil, lease = a.lease, tasks = tasks, payload = f[1], task_table = f[2],
    request_id = f[3] or nil,
    more = redis.call('EXISTS', P .. 'ready') == 1 or nil, starts = starts,
    waited_ms = waited,
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
elseif known[1] or has_ended(a.worker, a.instance) then
  return nothing_for_it()
end
if redis.call('HGET', P .. 'flags', 'dequeue_enabled') == '0' then return '{}' end
if redis.call('HGET', key('worker', a.worker), 'draining') == '1' then return nothing_for_it() end

-- A job of which this worker has densities may go before the first in line, as long as it is not far ahead of its
-- turn: a worker that changed jobs with each share would start from scratch each time.
local function warm_first(line, jobs)
  local first = jobs[1] and redis.call('ZSCORE', line, jobs[1])
  for _, job in ipairs(first and a.warm or {}) do
    local score = redis.call('ZSCORE', line, job)
    if score and score - first <= a.warm_turns then
      table.insert(jobs, 1, job)
      return jobs
    end
  end
  return jobs
end

-- Up to `most` jobs of a line from an offset on, and how many of these are its own.
local function part_of(line, offset, most)
  local jobs = redis.call('ZRANGE', line, offset, offset + most - 1)
  local count = #jobs
  return offset == 0 and warm_first(line, jobs) or jobs, count
end

-- The jobs that this call looks at: those of the worker's owner, then everybody's; and how many it has looked at.
local function jobs_to_look_at()
  if a.of_job then return redis.call('ZSCORE', P .. 'ready', a.of_job) and {a.of_job} or {}, 0 end
  local own = terms.owner and redis.call('ZCARD', key('ready', terms.owner)) or 0
  local jobs, count = {}, 0
  if a.offset < own then jobs, count = part_of(key('ready', terms.owner), a.offset, a.scan) end
  if count < a.scan and terms.accepts ~= 'own' then
    local others, more = part_of(P .. 'ready', math.max(0, a.offset - own), a.scan - count)
    for _, job in ipairs(others) do table.insert(jobs, job) end
    count = count + more
  end
  return jobs, count
end

local function is_for_it(job)
  return may_run(job, a.worker, terms) and (a.force or is_equipped(job))
end

local line, looked_at = jobs_to_look_at()
-- Nobody waits: everybody's next turn is now.
if redis.call('EXISTS', P .. 'ready', P .. 'delayed') == 0 then redis.call('DEL', P .. 'turns') end
for _, job in ipairs(line) do
  if is_for_it(job) then
    for _, chosen in ipairs(job_field(job, 'owner') ~= terms.owner and instead_of(job, a.scan) or {job}) do
      local tasks, why = nil, nil
      if chosen == job or is_for_it(chosen) then tasks, why = choose(chosen) end
      if tasks then
        trade_turns(job, chosen)
        take(chosen, tasks)
        return reply(chosen, tasks)
      end
      if why then explain(chosen, why) end
    end
  end
end
return cjson.encode({
  blocked = redis.call('EXISTS', P .. 'ready') == 1 or nil,
  next = looked_at == a.scan and a.offset + a.scan or nil,
})
