-- Ends the leases that expired, and moves on what has waited long enough. Any replica may run it at any time.
-- a: limit, retry {max, base_ms, max_ms, jitter}, assemble_after_ms, patience_ms (how long a share with tasks that
--    wait may go without a report before others may have these)
-- Returns {expired, promoted, recalled (tasks), assemble [jobs], next_ms (until something falls due, or -1)}.
-- needs: attempts, call, ends, history, keys, leases, limits, line, notices, status, tasks, workers

local expired = redis.call('ZRANGEBYSCORE', P .. 'leases', '-inf', now, 'LIMIT', 0, a.limit)

local function expire(lease)
  local record = redis.call('HMGET', key('lease', lease), 'job', 'worker', 'state')
  local job, worker = record[1], record[2]
  -- The loss of another one has just failed the job, and ended all its leases.
  if record[3] ~= 'held' then return end
  redis.call('HINCRBY', P .. 'counters', 'leases_expired', 1)
  local name = worker_name(worker)
  local tasks = redis.call('SMEMBERS', key('lease', lease, 'tasks'))
  local message = 'worker ' .. name .. ' was not heard of for the length of its lease'
  local error = {side = 'compute', code = 'worker_lost', message = message, worker = name}
  remember(job, {what = 'expired', worker = worker, class = 'lost', code = 'worker_lost', message = message,
    tasks = tasks})
  local again, count, longest = true, 0, 0
  for _, task in ipairs(tasks) do
    open_task(job, task)
    local n, retried, delay = count_attempt(job, task, 'lost', a.retry)
    again = again and retried
    count = math.max(count, n)
    longest = math.max(longest, delay or 0)
  end
  end_lease(lease, 'expired')
  notice('worker_lost', job, message)
  let_run_more(job_field(job, 'owner'))
  if again then
    place(job)
    settle_status(job, string.format('attempt %d: %s; next try in %.0f s', count, message, longest / 1000))
  else
    fail_job(job, error, message .. string.format(', %d times', count))
  end
end

for _, lease in ipairs(expired) do expire(lease) end

local promoted = redis.call('ZRANGEBYSCORE', P .. 'delayed', '-inf', now, 'LIMIT', 0, a.limit)
for _, job in ipairs(promoted) do
  place(job)
end

-- How many tasks of a lease its worker runs at the moment, at most: older leases of the same process have its slots
-- first. Those of its predecessor, which is dead, have none.
local function running(lease)
  local mine = redis.call('HMGET', key('lease', lease), 'worker', 'issued', 'slots', 'instance')
  local since, slots = tonumber(mine[2]), tonumber(mine[3])
  for _, other in ipairs(redis.call('SMEMBERS', key('worker', mine[1], 'leases'))) do
    local its = redis.call('HMGET', key('lease', other), 'issued', 'instance')
    local issued = tonumber(its[1])
    if its[2] == mine[4] and (issued < since or (issued == since and other < lease)) then
      slots = slots - redis.call('SCARD', key('lease', other, 'tasks'))
    end
  end
  return math.max(0, slots)
end

local function recall(lease)
  local tasks, kept = tasks_of(lease), running(lease)
  redis.call('ZREM', P .. 'spare', lease)
  if kept >= #tasks then return 0 end
  local job = redis.call('HGET', key('lease', lease), 'job')
  for n = kept + 1, #tasks do
    release_task(lease, job, tasks[n])
  end
  redis.call('HSET', key('lease', lease), 'recalled', 1)
  settle_if_empty(lease)
  place(job)
  settle_status(job)
  return #tasks - kept
end

-- A share whose worker is slower than it thought is released of what it has not begun, if there is nothing else to do.
local recalled = 0
if redis.call('EXISTS', P .. 'ready') == 0 then
  for _, lease in ipairs(redis.call('ZRANGEBYSCORE', P .. 'spare', '-inf', now - a.patience_ms, 'LIMIT', 0, a.limit)) do
    recalled = recalled + recall(lease)
  end
end

-- For those who listen to know that they would hear. A store that was emptied since, or restored, has another epoch.
redis.call('SET', P .. 'epoch', now, 'NX')
redis.call('PUBLISH', P .. 'events', 'sweep ' .. redis.call('GET', P .. 'epoch'))

local next_at = nil
for index, after in pairs({leases = 0, delayed = 0, spare = a.patience_ms}) do
  local first = redis.call('ZRANGE', P .. index, 0, 0, 'WITHSCORES')
  -- While others wait in line, a spare share has to wait for that.
  if first[2] and (index ~= 'spare' or redis.call('EXISTS', P .. 'ready') == 0) then
    next_at = math.min(next_at or math.huge, tonumber(first[2]) + after)
  end
end
-- Whoever was to assemble these has died or could not store the result: it is the caller's turn now.
local assemble = redis.call('ZRANGEBYSCORE', P .. 'assemble', '-inf', now - a.assemble_after_ms, 'LIMIT', 0, a.limit)
for _, job in ipairs(assemble) do
  redis.call('ZADD', P .. 'assemble', now, job)
end
return cjson.encode({
  expired = #expired, promoted = #promoted, recalled = recalled, assemble = assemble,
  next_ms = next_at and math.max(0, next_at - now) or -1,
})
