-- Renews the named leases and says what became of each; with `ending`, the worker says goodbye.
-- a: worker, instance, leases, ttl_ms, running {lease = {scfs (JSON list), mark}}, memory_free_gb (absent: not known), ending
-- Returns {leases {lease = 'held' | 'lost' | 'cancelled'}, left {lease = [tasks]} (of those that some were taken out of),
--   draining}.
-- needs: call, keys, leases, news, status, workers

heard(a.worker, a.instance, a.ttl_ms)
if a.ending then says_goodbye(a.worker, a.instance) end
if a.memory_free_gb then
  redis.call('HSET', key('worker', a.worker), 'memory_free_gb', a.memory_free_gb)
else
  redis.call('HDEL', key('worker', a.worker), 'memory_free_gb')
end
local out, left = {}, {}
for _, lease in ipairs(a.leases) do
  local record = redis.call('HMGET', key('lease', lease), 'worker', 'state', 'recalled', 'mark', 'job')
  if record[1] == a.worker and record[2] == 'held' then
    renew(lease, a.ttl_ms)
    local told = a.running[lease] or {scfs = '[]', mark = ''}
    if a.running[lease] or (record[4] or '') ~= '' then
      redis.call('HSET', key('lease', lease), 'running', told.scfs, 'mark', told.mark, 'told', now)
    end
    if told.mark ~= (record[4] or '') then
      touch(record[5])
      announce_job(record[5])
    end
    out[lease] = 'held'
    left[lease] = left_of(lease, record[3])
  elseif record[1] == a.worker and record[2] == 'cancelled' then
    out[lease] = 'cancelled'
  else
    out[lease] = 'lost'
  end
end
return cjson.encode({leases = out, left = left, draining = redis.call('HGET', key('worker', a.worker), 'draining') == '1'})
