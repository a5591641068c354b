-- Says what one owner may have, in place of what goes for all; what is absent goes as for all.
-- a: owner, limits {priority, jobs, scfs, bytes}    Returns {}.
-- needs: call, keys, limits

for _, name in ipairs({'priority', 'jobs', 'scfs', 'bytes'}) do
  local limit = a.limits[name]
  if limit then
    redis.call('HSET', key('owner', a.owner), 'max_' .. name, string.format('%.0f', limit))
  else
    redis.call('HDEL', key('owner', a.owner), 'max_' .. name)
  end
end
redis.call('SADD', P .. 'owners', a.owner)
let_run_more(a.owner)
return '{}'
