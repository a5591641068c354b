-- Renews the named leases and says what became of each.
-- a: worker, instance, leases, ttl_ms
-- Returns {leases {lease = 'held' | 'lost' | 'cancelled'}, left {lease = [tasks]} (of those that some were taken out of),
--   draining}.
-- needs: call, keys, leases

heard(a.worker, a.instance, a.ttl_ms)
local out, left = {}, {}
for _, lease in ipairs(a.leases) do
  local record = redis.call('HMGET', key('lease', lease), 'worker', 'state', 'recalled')
  if record[1] == a.worker and record[2] == 'held' then
    renew(lease, a.ttl_ms)
    out[lease] = 'held'
    left[lease] = left_of(lease, record[3])
  elseif record[1] == a.worker and record[2] == 'cancelled' then
    out[lease] = 'cancelled'
  else
    out[lease] = 'lost'
  end
end
return cjson.encode({leases = out, left = left, draining = redis.call('HGET', key('worker', a.worker), 'draining') == '1'})
