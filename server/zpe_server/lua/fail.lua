-- A worker reports that tasks of its lease failed.
-- a: job, worker, instance, lease, ttl_ms, tasks [indices] or null (all it still holds),
--    class ('compute': counted and retried; 'capability': this worker cannot, others may; 'input': nobody can),
--    error {side, code, message, traceback, worker}, retry {max, base_ms, max_ms, jitter}
-- Returns {error} or {requeued, retry_count, status}.

seen(a.worker)
renew_all(a.worker, a.instance, a.ttl_ms)
local status = job_field(a.job, 'status')
if not status then return cjson.encode({error = 'not_found'}) end
local lease = own_lease(a.lease, a.worker, a.job)
if not lease then return cjson.encode({error = 'lease_not_yours'}) end
renew(a.lease, a.ttl_ms)

local mine = key('lease', a.lease, 'tasks')
local tasks = {}
if a.tasks == cjson.null then
  tasks = redis.call('SMEMBERS', mine)
else
  -- What the lease no longer holds was reported before: a replay changes nothing.
  for _, task in ipairs(a.tasks) do
    if redis.call('SISMEMBER', mine, task) == 1 then table.insert(tasks, tostring(task)) end
  end
end

local count, again = 0, status ~= 'failed'
local longest = 0
if #tasks > 0 then
  redis.call('HINCRBY', key('worker', a.worker), 'scf_failed', #tasks)
  remember(a.job, {what = 'failed', worker = a.worker, class = a.class, code = a.error.code,
    message = a.error.message, traceback = a.error.traceback, tasks = tasks})
end
for _, task in ipairs(tasks) do
  redis.call('SREM', mine, task)
  open_task(a.job, task)
  if a.class == 'compute' then
    local n, retried, delay = count_attempt(a.job, task, 'compute', a.retry)
    count = math.max(count, n)
    again = again and retried
    longest = math.max(longest, delay or 0)
  elseif a.class == 'input' then
    again = false
  end
end
settle_if_empty(a.lease)

if #tasks > 0 then
  if a.class == 'capability' then
    avoid(a.job, a.worker)
    place(a.job)
    settle_status(a.job, 'waiting for a worker that can run it: ' .. a.error.message)
  elseif again then
    redis.call('HSET', key('job', a.job), 'error', cjson.encode(a.error))
    place(a.job)
    settle_status(a.job, string.format('attempt %d failed (%s: %s); next try in %.0f s',
      count, a.error.code, a.error.message, longest / 1000))
  else
    fail_job(a.job, a.error, a.error.message)
  end
else
  for _, n in ipairs(redis.call('HVALS', key('job', a.job, 'attempts'))) do
    count = math.max(count, tonumber(n))
  end
end
return cjson.encode({requeued = again, retry_count = count, status = job_field(a.job, 'status')})
