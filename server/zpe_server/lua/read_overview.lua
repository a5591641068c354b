-- Shows the service at a glance.
-- Returns {jobs {status -> count}, dlq, held (tasks with workers), oldest (job that waits the longest, or nil),
--   finished, failed [jobs within the last hour, the one before, ...]}; failed counts those still in the DLQ.
-- needs: call, keys, status

local HOURS, HOUR_MS = 24, 3600 * 1000

local out = {jobs = jobs_by_status(), held = 0, finished = {}, failed = {}}
out.dlq = redis.call('ZCARD', P .. 'dlq')
out.oldest = redis.call('ZRANGE', key('index', '*', 'queued'), 0, 0)[1]
for _, lease in ipairs(redis.call('ZRANGE', P .. 'leases', 0, -1)) do
  out.held = out.held + redis.call('SCARD', key('lease', lease, 'tasks'))
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
