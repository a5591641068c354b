-- Notes the settings of a replica of the control plane ('': it ends), and reads those of all.
-- a: replica (its name), alive_ms (one that was not heard of for longer is gone)    ARGV[2]: settings
-- Returns {replicas [{replica, settings}]}.
-- needs: call, keys

local all = P .. 'replicas'
if ARGV[2] == '' then
  redis.call('HDEL', all, a.replica)
  -- Another one may pass notices on at once; meanwhile they are still kept.
  local claim = P .. 'notices:claim'
  if redis.call('GET', claim) == a.replica then redis.call('SET', claim, '', 'KEEPTTL') end
else
  redis.call('HSET', all, a.replica, cjson.encode({seen = now, settings = ARGV[2]}))
end
local out = {}
local found = redis.call('HGETALL', all)
for i = 1, #found, 2 do
  local entry = cjson.decode(found[i + 1])
  if now - entry.seen > a.alive_ms then
    redis.call('HDEL', all, found[i])
  else
    table.insert(out, {replica = found[i], settings = entry.settings})
  end
end
return cjson.encode({replicas = out})
