-- Stores finished tasks. Each is stored once; the first one pins the job's physics.
-- a: job, worker, instance, lease, ttl_ms, tasks [indices], fingerprints [canonical texts], engine, seconds [..]
-- ARGV[2 i], ARGV[2 i + 1]: the report of a.tasks[i], and the short record of who ran it
-- Returns {error = 'not_found' | 'lease_not_yours'} or
--   {accepted, idempotent, refused, reason, pinned, status, progress, complete, lease_held}

seen(a.worker)
renew_all(a.worker, a.instance, a.ttl_ms)
local status = job_field(a.job, 'status')
if not status then return cjson.encode({error = 'not_found'}) end
local lease = own_lease(a.lease, a.worker, a.job)
if not lease then return cjson.encode({error = 'lease_not_yours'}) end
renew(a.lease, a.ttl_ms)

local reports, held = key('job', a.job, 'reports'), key('job', a.job, 'held')
local total = tonumber(job_field(a.job, 'total'))
local out = {accepted = {}, idempotent = {}, refused = {}}

local function judge(task, fingerprint)
  if task >= total then return 'refused', 'no_such_task' end
  if status == 'finished' or redis.call('HEXISTS', reports, task) == 1 then return 'idempotent' end
  if status == 'cancelled' then return 'refused', 'cancelled' end
  local holder = redis.call('HGET', held, task)
  if holder and holder ~= a.lease then return 'refused', 'leased_again' end
  local pinned = job_field(a.job, 'fingerprint')
  if pinned and pinned ~= fingerprint then return 'refused', 'wrong_physics' end
  return 'accepted'
end

for i, task in ipairs(a.tasks) do
  local verdict, reason = judge(task, a.fingerprints[i])
  table.insert(out[verdict], task)
  if verdict == 'accepted' then
    redis.call('HSETNX', key('job', a.job), 'fingerprint', a.fingerprints[i])
    redis.call('HSETNX', key('job', a.job), 'engine', a.engine)
    redis.call('HSET', reports, task, ARGV[2 * i])
    redis.call('HSET', key('job', a.job, 'runs'), task, ARGV[2 * i + 1])
    redis.call('HDEL', held, task)
    redis.call('ZREM', key('job', a.job, 'open'), task)
    redis.call('HDEL', key('job', a.job, 'attempts'), task .. ':lost', task .. ':compute')
    -- Progress on a lease says that its worker was alive: the rest starts counting anew.
    for _, other in ipairs(redis.call('SMEMBERS', key('lease', a.lease, 'tasks'))) do
      redis.call('HDEL', key('job', a.job, 'attempts'), other .. ':lost')
    end
    redis.call('HINCRBY', key('worker', a.worker), 'scf_done', 1)
    redis.call('HINCRBYFLOAT', key('worker', a.worker), 'scf_seconds', a.seconds[i])
  else
    out.reason = out.reason or reason
  end
  if lease.state == 'held' then
    redis.call('SREM', key('lease', a.lease, 'tasks'), task)
    if reason == 'wrong_physics' then open_task(a.job, task) end
  end
end

if out.reason == 'wrong_physics' then
  out.pinned = job_field(a.job, 'fingerprint')
  avoid(a.job, a.worker)
  if lease.state == 'held' then
    return_lease(a.lease, 'lost')
    lease.state = 'lost'
  end
  remember(a.job, {what = 'refused', worker = a.worker, code = 'wrong_physics', tasks = out.refused})
  place(a.job)
  settle_status(a.job, 'results of worker ' .. worker_name(a.worker)
    .. ' were refused: their physics differ from those of the first result')
end

if lease.state == 'held' then settle_if_empty(a.lease) end
if #out.accepted > 0 then
  touch(a.job)
  if redis.call('HLEN', reports) == total then
    if status == 'failed' then redis.call('HDEL', key('job', a.job), 'error', 'finished') end
    to_assembly(a.job)
    set_status(a.job, 'started', 'all SCFs are done; computing the frequencies')
    out.complete = true
  else
    -- What a lost lease gave back was open; now it is done.
    if lease.state ~= 'held' then place(a.job) end
    if status == 'started' or status == 'queued' then settle_status(a.job) end
  end
end
out.status = job_field(a.job, 'status')
out.progress = progress(a.job)
out.lease_held = redis.call('HGET', key('lease', a.lease), 'state') == 'held'
return cjson.encode(out)
