-- Counts what there is.
-- Returns {now, jobs {status -> count}, dlq, leases, ready, delayed, oldest_ms (or nil), counters {name -> count},
--   workers [{name, scf_done, scf_failed, scf_seconds, seen, present}]}.
-- needs: call, keys, status

local out = {now = now, jobs = jobs_by_status(), counters = {}, workers = {}}
for _, name in ipairs({'dlq', 'leases', 'ready', 'delayed', 'assemble'}) do
  out[name] = redis.call('ZCARD', P .. name)
end
local oldest = redis.call('ZRANGE', key('index', '*', 'queued'), 0, 0, 'WITHSCORES')
if oldest[2] then out.oldest_ms = now - tonumber(oldest[2]) end
local counters = redis.call('HGETALL', P .. 'counters')
for i = 1, #counters, 2 do out.counters[counters[i]] = tonumber(counters[i + 1]) end
local seen_at = redis.call('ZREVRANGE', P .. 'workers', 0, 9999, 'WITHSCORES')
for i = 1, #seen_at, 2 do
  local f = redis.call('HMGET', key('worker', seen_at[i]), 'name', 'scf_done', 'scf_failed', 'scf_seconds', 'revoked')
  if not f[5] then
    table.insert(out.workers, {id = seen_at[i], name = f[1] or seen_at[i], scf_done = tonumber(f[2] or 0),
      scf_failed = tonumber(f[3] or 0), scf_seconds = tonumber(f[4] or 0), seen = tonumber(seen_at[i + 1]),
      present = redis.call('ZSCORE', P .. 'present', seen_at[i]) and true or false})
  end
end
return cjson.encode(out)
