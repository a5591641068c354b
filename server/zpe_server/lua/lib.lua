-- Put in front of every transition: key names, Redis's clock, and the moves that several transitions share.
--
--   job:<id>           hash  status, detail, created, updated, owner, payload, plan, tasks, fingerprint, error,
--                            generation (grows when forces are taken back), taken_back (workers' names) ...
--   job:<id>:open      zset  tasks nobody holds; score = the task's index, or the time (ms) from which it may run
--   job:<id>:held      hash  task -> lease that holds it
--   job:<id>:reports   hash  task -> report (forces); a task in here is done
--   job:<id>:runs      hash  task -> who ran it and how long it took
--   job:<id>:starts    hash  task -> "equilibrium" | "scratch": run again from there, for it ended in another electronic
--                            state;  "<task>:misfit" -> how far off its energy was the first time (eV)
--   job:<id>:dropped   set   hashes of the reports that were dropped for that, which must not come back
--   job:<id>:by        hash  task -> id of the worker that computed it; "*": of the one that settled the job in one go
--   job:<id>:scf       list  by task, the key of what decides its forces
--   job:<id>:twins     hash  task -> the other task that computes the same SCF, by another worker, to be compared
--   job:<id>:reserved  set   tasks whose forces are known from an earlier job, if its physics turn out the same
--   job:<id>:settled   hash  result, summary and freqs of a job that a worker settled in one go
--   job:<id>:attempts  hash  "<task>:<class>" -> failures in a row
--   job:<id>:avoid     hash  "<worker> <digest of its capabilities>" -> why it could not run this job with them
--   job:<id>:workers, leases  set  who has worked on it, and under which leases
--   job:<id>:history   list  attempts and decisions, newest first
--   ready / delayed    zset  jobs with a task to run now (the line) / later (score: time in ms)
--   turns              hash  what decides the order of the line: see there
--   spare              zset  leases with more tasks than their worker runs at once; score = when one was last reported
--   leases             zset  lease -> deadline (ms); the one place where deadlines live
--   lease:<id>         hash  job, worker, instance, state, ...;  lease:<id>:tasks  set of its unfinished tasks
--   lease:<id>:given   set   the tasks it was given at first: its worker may report no others, however late
--   assemble           zset  jobs whose tasks are all done and whose result is not stored yet
--   dlq, retire        zset  job -> when it failed for good / when it is to be forgotten
--   index:<owner>:<status>  zset  jobs by creation; either part may be *: all
--   rq                 the lock of whoever tells RQ what there is to do;  job:<id>:completing  likewise, of one result
--   counters           hash  attempts by class since the beginning
--   worker:<id>        hash  name, capabilities, digest, counts;  workers  zset  worker -> when last heard of
--   worker:<id>:shown  zset  "<digest of its capabilities> <setup>": with what it has computed, being as it was; score = when
--   scf:<owner>:<key>  hash  "report <physics>", "run <physics>", "by <physics>" (id of its worker), "setup <physics>" (what
--                            its worker brought to it) of an SCF done; forgotten some time after its last use
--   token:<hash>       hash  role, subject, expires;  enroll:<hash>  hash  label, expires
--   tokens, enrolls    zset  researchers' tokens / enroll tokens by creation
--
-- Times are in ms by Redis's own clock: workers' and servers' clocks decide nothing.
-- ARGV[1] is a JSON object with the small arguments; large texts follow as they are.

local P = KEYS[1]
local a = cjson.decode(ARGV[1])

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local TOMBSTONE_MS = 30 * 86400 * 1000  -- so long, or as long as its job, is an ended lease remembered for late reports
local HISTORY_MAX = 200
local WAITING = 'waiting for a worker that can run it: '

local function key(...)
  return P .. table.concat({...}, ':')
end

local function job_field(job, field)
  return redis.call('HGET', key('job', job), field)
end

-- Wakes whoever long-polls: for work (n leases may now succeed) or for a change of one job.
local function announce_work(n)
  redis.call('PUBLISH', P .. 'events', 'work ' .. n)
end

-- What servers remember of tokens, or of which workers are drained, may have changed.
local function announce_principals()
  redis.call('PUBLISH', P .. 'events', 'principals')
end

local function announce_job(job)
  redis.call('PUBLISH', P .. 'events', 'job ' .. job)
end

-- What is to compute a job. One from before jobs said so goes on as it has begun.
local function engine_of(job, needs)
  return needs.engine or job_field(job, 'engine') or 'espresso'
end

local function touch(job, ...)
  redis.call('HSET', key('job', job), 'updated', now, ...)
  redis.call('HINCRBY', key('job', job), 'version', 1)
end

-- Moves a job between the indexes of old and new status; either may be nil.
local function index(job, old, new)
  local f = redis.call('HMGET', key('job', job), 'owner', 'created')
  for _, owner in ipairs({f[1], '*'}) do
    if old then redis.call('ZREM', key('index', owner, old), job) end
    if new then
      redis.call('ZADD', key('index', owner, new), f[2], job)
      redis.call('ZADD', key('index', owner, '*'), f[2], job)
    else
      redis.call('ZREM', key('index', owner, '*'), job)
    end
  end
end

local function set_status(job, status, detail)
  local old = job_field(job, 'status')
  if old ~= status then index(job, old, status) end
  touch(job, 'status', status, 'detail', detail or '')
  announce_job(job)
end

local function worker_name(worker)
  return redis.call('HGET', key('worker', worker), 'name') or worker
end

local function remember(job, event)
  event.at = now
  event.worker = event.worker and worker_name(event.worker)
  local list = key('job', job, 'history')
  redis.call('LPUSH', list, cjson.encode(event))
  redis.call('LTRIM', list, 0, HISTORY_MAX - 1)
end

local function leave_line(job)
  redis.call('ZREM', P .. 'ready', job)
  redis.call('ZREM', P .. 'delayed', job)
end

-- The line. Higher priority goes first; among equals, owners take turns, counted in tasks. A job's turn is the
-- number of tasks its owner has asked for before it, on a clock that all owners of a priority share: it shows the
-- turn of the job that was served last, and whoever comes new begins there. So a thousand jobs of one owner
-- stand behind one another, and the next one of somebody else stands beside the first of them. A job's turn moves on
-- with each task given out: a large job does not keep small ones waiting either.
--
--   turns  hash  <priority> -> the clock;  <priority> <owner> -> where the next job of this owner begins
local function clock(priority)
  return tonumber(redis.call('HGET', P .. 'turns', priority) or 0)
end

-- Both fit exactly into a double.
local function stand_in_line(job, priority, turn)
  redis.call('HSET', key('job', job), 'turn', turn)
  redis.call('ZADD', P .. 'ready', string.format('%.0f', turn - priority * 1e13), job)
end

local function join_line(job, priority, owner, tasks)
  local mine = priority .. ' ' .. owner
  local turn = math.max(clock(priority), tonumber(redis.call('HGET', P .. 'turns', mine) or 0))
  redis.call('HSET', P .. 'turns', mine, turn + tasks)
  stand_in_line(job, priority, turn)
end

local function move_on(job, tasks)
  local f = redis.call('HMGET', key('job', job), 'priority', 'turn')
  local turn = tonumber(f[2])
  if turn > clock(f[1]) then redis.call('HSET', P .. 'turns', f[1], turn) end
  stand_in_line(job, f[1], turn + tasks)
end

-- Tasks that will not be run after all are not counted against their owner.
local function give_up_turns(job)
  local f = redis.call('HMGET', key('job', job), 'priority', 'owner')
  local mine = f[1] .. ' ' .. f[2]
  if redis.call('HEXISTS', P .. 'turns', mine) == 1 then
    redis.call('HINCRBY', P .. 'turns', mine, 0 - redis.call('ZCARD', key('job', job, 'open')))  -- -0 is no number to Redis
  end
end

-- Whether a living job stands in line follows from its open tasks alone. One that comes back goes to the front:
-- it had its turn.
local function place(job)
  local f = redis.call('HMGET', key('job', job), 'status', 'priority', 'turn')
  local status, open = f[1], key('job', job, 'open')
  local first = redis.call('ZRANGE', open, 0, 0, 'WITHSCORES')
  if #first == 0 or (status ~= 'queued' and status ~= 'started') then
    leave_line(job)
  elseif tonumber(first[2]) <= now then
    if not redis.call('ZSCORE', P .. 'ready', job) then
      stand_in_line(job, f[2], math.min(tonumber(f[3]), clock(f[2])))
    end
    redis.call('ZREM', P .. 'delayed', job)
    announce_work(redis.call('ZCARD', open))
  else
    redis.call('ZREM', P .. 'ready', job)
    redis.call('ZADD', P .. 'delayed', first[2], job)
  end
end

local function open_task(job, task, not_before)
  redis.call('HDEL', key('job', job, 'held'), task)
  redis.call('ZADD', key('job', job, 'open'), not_before or task, task)
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

-- Gives a lease's unfinished tasks back, to be run by anybody at once.
local function return_lease(lease, state)
  local job = redis.call('HGET', key('lease', lease), 'job')
  for _, task in ipairs(redis.call('SMEMBERS', key('lease', lease, 'tasks'))) do
    open_task(job, task)
  end
  end_lease(lease, state)
  return job
end

local function return_all_leases(job, state)
  for _, lease in ipairs(redis.call('HVALS', key('job', job, 'held'))) do
    if redis.call('HGET', key('lease', lease), 'state') == 'held' then
      return_lease(lease, state)
    end
  end
end

-- A job nobody works on is queued again; one with a held task stays started. Without detail, the previous one is kept.
local function settle_status(job, detail)
  local status = job_field(job, 'status')
  if status == 'queued' or status == 'started' then
    local idle = redis.call('HLEN', key('job', job, 'held')) == 0
    set_status(job, idle and 'queued' or 'started', detail or job_field(job, 'detail'))
  end
end

-- Nobody is to work on a job any more.
local function withdraw(job)
  give_up_turns(job)
  return_all_leases(job, 'cancelled')
  leave_line(job)
  redis.call('ZREM', P .. 'assemble', job)
end

-- All that only a job which may still be worked on needs.
local function drop_tasks(job)
  redis.call('DEL', key('job', job, 'open'), key('job', job, 'reports'), key('job', job, 'attempts'),
    key('job', job, 'reserved'), key('job', job, 'settled'), key('job', job, 'starts'), key('job', job, 'dropped'))
end

local function fail_job(job, error, detail)
  withdraw(job)
  redis.call('HSET', key('job', job), 'error', cjson.encode(error), 'finished', now)
  redis.call('ZADD', P .. 'dlq', now, job)
  set_status(job, 'failed', detail)
end

-- One failed attempt of a task. Returns the count and whether the task will be tried again.
-- retry: {max, base_ms, max_ms, jitter}, jitter in [0, 1) takes up to a fifth off the delay.
local function count_attempt(job, task, class, retry)
  local n = redis.call('HINCRBY', key('job', job, 'attempts'), task .. ':' .. class, 1)
  redis.call('HINCRBY', P .. 'counters', 'attempts:' .. class, 1)
  if n > retry.max then
    return n, false
  end
  local delay = math.min(retry.max_ms, retry.base_ms * 2 ^ (n - 1)) * (1 - 0.2 * retry.jitter)
  open_task(job, task, now + math.floor(delay))
  return n, true, delay
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

local function renew(lease, ttl_ms)
  if redis.call('ZADD', P .. 'leases', 'XX', 'CH', now + ttl_ms, lease) == 1 then
    redis.call('HINCRBY', key('lease', lease), 'renewals', 1)
  end
end

local function seen(worker)
  redis.call('ZADD', P .. 'workers', now, worker)
end

-- Every call of a worker is a sign of life.
local function heard()
  seen(a.worker)
  renew_all(a.worker, a.instance, a.ttl_ms)
end

local function is_revoked(worker)
  return redis.call('HEXISTS', key('worker', worker), 'revoked') == 1
end

-- The worker is not to be offered this job again before its capabilities change. They are those with which it
-- took the lease: another process of the same worker may have others.
local function avoid(job, worker, lease, why)
  local digest = redis.call('HGET', key('lease', lease), 'digest')
  redis.call('HSET', key('job', job, 'avoid'), worker .. ' ' .. digest, why)
end

-- The lease's record if it was given to this worker for this job, else nil. What a revoked worker says counts no more.
local function own_lease(lease, worker, job)
  local record = redis.call('HMGET', key('lease', lease), 'worker', 'job', 'state', 'recalled', 'engine',
    'engine_version')
  if record[1] == worker and record[2] == job and not is_revoked(worker) then
    return {state = record[3], recalled = record[4], engine = record[5] or '', engine_version = record[6] or ''}
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

local function jobs_by_status()
  local counts = {}
  for _, status in ipairs({'queued', 'started', 'finished', 'failed', 'cancelled'}) do
    counts[status] = redis.call('ZCARD', key('index', '*', status))
  end
  return counts
end

-- Whether an admin has taken a failed job out of the DLQ for good.
local function is_discarded(job, status)
  return status == 'failed' and not redis.call('ZSCORE', P .. 'dlq', job)
end

local function progress(job)
  local f = redis.call('HMGET', key('job', job), 'status', 'total', 'reused', 'full')
  -- Not by the reports: a job that is over keeps none.
  local done = redis.call('HLEN', key('job', job, 'runs'))
  if f[1] == 'finished' then done = tonumber(f[2]) end
  return {
    done = done, total = tonumber(f[2]), reused = tonumber(f[3] or 0), full = tonumber(f[4]),
    running = redis.call('HLEN', key('job', job, 'held')),
  }
end

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

-- With which program and files a worker has computed, as long as its capabilities tell when one of these changes.
local SHOWN_MAX = 256
local function has_shown(worker, lease, setup)
  local f = redis.call('HMGET', key('worker', worker), 'digest', 'capabilities')
  if f[1] ~= redis.call('HGET', key('lease', lease), 'digest') or not f[2] or f[2] == '' then return end
  if type(cjson.decode(f[2]).files_sha256) ~= 'string' then return end
  local shown = key('worker', worker, 'shown')
  redis.call('ZADD', shown, now, f[1] .. ' ' .. setup)
  redis.call('ZREMRANGEBYRANK', shown, 0, -1 - SHOWN_MAX)
end

-- Whether a living worker, as it is now, has computed with this program and these files.
local function is_shown(setup, alive_ms)
  if not setup then return false end
  for _, worker in ipairs(redis.call('ZRANGEBYSCORE', P .. 'workers', now - alive_ms, '+inf')) do
    local digest = not is_revoked(worker) and redis.call('HGET', key('worker', worker), 'digest')
    if digest and redis.call('ZSCORE', key('worker', worker, 'shown'), digest .. ' ' .. setup) then return true end
  end
  return false
end

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

local function pin(job, physics)
  redis.call('HSET', key('job', job), 'fingerprint', physics, 'engine', cjson.decode(physics).engine)
end

-- Takes back a stored SCF, so that its task can be run again. Neither this job nor a later one is to meet it again.
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

-- Where no forces are left, the next ones decide the physics anew, also for those whose physics were refused.
local function unpin_if_empty(job)
  if redis.call('HLEN', key('job', job, 'reports')) == 0 then
    redis.call('HDEL', key('job', job), 'fingerprint', 'engine')
    redis.call('DEL', key('job', job, 'avoid'))
  end
end

-- All that the result needs is there; it remains to be made and stored.
-- Versions of pw.x, such as 6.7MaX or 7.3.1: below 0 if the first is older, above 0 if it is newer.
local function compare_versions(one, other)
  local rest = string.gmatch(other, '%d+')
  for n in string.gmatch(string.match(one, '^[%d.]*'), '%d+') do
    local difference = n - (rest() or 0)
    if difference ~= 0 then return difference end
  end
  for n in rest do
    if tonumber(n) > 0 then return -n end
  end
  return 0
end

local HOLDS = {
  ['>='] = function(d) return d >= 0 end,
  ['>'] = function(d) return d > 0 end,
  ['<='] = function(d) return d <= 0 end,
  ['<'] = function(d) return d < 0 end,
  ['=='] = function(d) return d == 0 end,
}

-- Whether a version of pw.x is one that a job needs. One that tells no number may be any.
local function has_version(version, needs)
  if not string.match(version, '^%d') then return true end
  for _, need in ipairs(needs.versions or {}) do
    for comparison, wanted in string.gmatch(need.condition, '([<>=]+)%s*([%d.]+)') do
      if not HOLDS[comparison](compare_versions(version, wanted)) then return false end
    end
  end
  return true
end

local function to_assembly(job)
  redis.call('DEL', key('job', job, 'open'))
  leave_line(job)
  redis.call('ZREM', P .. 'dlq', job)
  redis.call('ZADD', P .. 'assemble', now, job)
end
