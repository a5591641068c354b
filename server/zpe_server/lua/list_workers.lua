-- Lists the workers with their leases, the last heard of first.    Returns {workers [{worker, seen, ...}]}.
-- One whose record is lost has no name: it was heard of while its token was still trusted.
-- needs: keys

local out = {}
local seen_at = redis.call('ZREVRANGE', P .. 'workers', 0, -1, 'WITHSCORES')
for i = 1, #seen_at, 2 do
  local worker = seen_at[i]
  local record = redis.call('HGETALL', key('worker', worker))
  local entry = {worker = worker, seen = seen_at[i + 1], leases = redis.call('SMEMBERS', key('worker', worker, 'leases'))}
  for n = 1, #record, 2 do entry[record[n]] = record[n + 1] end
  if entry.name then table.insert(out, entry) end
end
return cjson.encode({workers = out})
