-- Failed attempts, counted by task and class.
-- needs: call, keys, tasks

-- One failed attempt of a task. Returns the count and whether the task will be tried again.
-- retry: {max, base_ms, max_ms, jitter}, jitter in [0, 1) takes up to a fifth off the delay.
local function count_attempt(job, task, class, retry)
  local n = redis.call('HINCRBY', key('job', job, 'attempts'), task .. ':' .. class, 1)
  redis.call('HINCRBY', P .. 'counters', 'attempts:' .. class, 1)
  if n > retry.max then
    return n, false
  end
  redis.call('HINCRBY', P .. 'counters', 'retries:' .. class, 1)
  local delay = math.min(retry.max_ms, retry.base_ms * 2 ^ (n - 1)) * (1 - 0.2 * retry.jitter)
  open_task(job, task, now + math.floor(delay))
  return n, true, delay
end
