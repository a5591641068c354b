-- Shows the service at a glance.
-- Returns {jobs {status -> count}, dlq, running (SCFs), oldest (job that waits the longest, or nil),
--   finished, failed [jobs within the last hour, the one before, ...]}; failed counts those still in the DLQ.
-- needs: call, keys, running, status

local HOURS, HOUR_MS = 24, 3600 * 1000

local out = {jobs = jobs_by_status(), running = 0, finished = {}, failed = {}}
out.dlq = redis.call('ZCARD', P .. 'dlq')
out.oldest = redis.call('ZRANGE', key('index', '*', 'queued'), 0, 0)[1]
-- What workers tell of runs. Of a lease that its worker tells nothing of, as much as there is room for in its slots.
local told, untold, slots = {}, {}, {}
for _, lease in ipairs(redis.call('ZRANGE', P .. 'leases', 0, -1)) do
  local f = redis.call('HMGET', key('lease', lease), 'worker', 'slots')
  local worker, scfs = f[1], told_of(lease)
  told[worker] = (told[worker] or 0) + (scfs and #scfs or 0)
  untold[worker] = (untold[worker] or 0) + (scfs and 0 or redis.call('SCARD', key('lease', lease, 'tasks')))
  slots[worker] = tonumber(f[2] or 1)
end
for worker in pairs(told) do
  out.running = out.running + told[worker] + math.min(untold[worker], math.max(0, slots[worker] - told[worker]))
end
for hour = 1, HOURS do
  out.finished[hour] = 0
  out.failed[hour] = redis.call('ZCOUNT', P .. 'dlq', '(' .. now - hour * HOUR_MS, now - (hour - 1) * HOUR_MS)
end
local minutes = redis.call('HGETALL', P .. 'finished')
for i = 1, #minutes, 2 do
  local hour = math.floor((math.floor(now / 60000) - minutes[i]) / 60) + 1
  if hour <= HOURS then out.finished[hour] = out.finished[hour] + minutes[i + 1] end
end
return cjson.encode(out)
