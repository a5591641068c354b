-- A worker reports that tasks of its lease failed.
-- a: job, worker, instance, lease, ttl_ms, tasks [indices; absent: all it still holds],
--    failure ('compute': counted and retried; 'capability': this worker cannot, others may; 'input': nobody can),
--    error {side, code, message, traceback, worker}, retry {max, base_ms, max_ms, jitter}
-- Returns {error} or {requeued, retry_count, status}.
-- needs: attempts, call, ends, history, keys, leases, limits, line, status, tasks, workers

heard(a.worker, a.instance, a.ttl_ms)
local status = job_field(a.job, 'status')
if not status then return cjson.encode({error = 'not_found'}) end
local lease = own_lease(a.lease, a.worker, a.job)
if not lease then return cjson.encode({error = 'lease_not_yours'}) end
renew(a.lease, a.ttl_ms)

local mine = key('lease', a.lease, 'tasks')
local tasks = {}
for _, task in ipairs(a.tasks or redis.call('SMEMBERS', mine)) do
  -- What the lease no longer holds was reported before: a replay changes nothing.
  if redis.call('SREM', mine, task) == 1 then table.insert(tasks, tostring(task)) end
end

local count, longest = 0, 0
local again = status == 'queued' or status == 'started'
if #tasks > 0 then
  redis.call('HINCRBY', key('worker', a.worker), 'scf_failed', #tasks)
  remember(a.job, {what = 'failed', worker = a.worker, class = a.failure, code = a.error.code,
    message = a.error.message, traceback = a.error.traceback, tasks = tasks})
end
for _, task in ipairs(tasks) do
  open_task(a.job, task)
  if a.failure == 'compute' then
    local n, retried, delay = count_attempt(a.job, task, 'compute', a.retry)
    count = math.max(count, n)
    again = again and retried
    longest = math.max(longest, delay or 0)
  elseif a.failure == 'input' then
    again = false
  end
end
settle_if_empty(a.lease)

if #tasks > 0 then
  -- What is tried again later makes room for the owner's other jobs.
  let_run_more(job_field(a.job, 'owner'))
  if a.failure == 'capability' then
    local why = 'worker ' .. worker_name(a.worker) .. ' could not: ' .. a.error.message
    avoid(a.job, a.worker, a.lease, why)
    place(a.job)
    settle_status(a.job, WAITING .. why)
  elseif again then
    redis.call('HSET', key('job', a.job), 'error', cjson.encode(a.error))
    place(a.job)
    settle_status(a.job, string.format('attempt %d failed (%s: %s); next try in %.0f s',
      count, a.error.code, a.error.message, longest / 1000))
  else
    fail_job(a.job, a.error, a.error.message)
  end
else
  local attempts = redis.call('HGETALL', key('job', a.job, 'attempts'))
  for i = 1, #attempts, 2 do
    if string.match(attempts[i], ':compute$') then count = math.max(count, tonumber(attempts[i + 1])) end
  end
end
return cjson.encode({requeued = again, retry_count = count, status = job_field(a.job, 'status')})
