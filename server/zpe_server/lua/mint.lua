-- Stores a new token: an enroll token, or one of a person.
-- a: kind ('enroll' | 'token'), token (hash), ttl_ms (0: for ever), fields    Returns {created, expires (or 0)}.
-- needs: call, keys

local expires = a.ttl_ms > 0 and now + a.ttl_ms or 0
local record = key(a.kind, a.token)
redis.call('HSET', record, 'created', now, 'expires', expires)
for field, value in pairs(a.fields) do
  redis.call('HSET', record, field, value)
end
-- Redis may forget it when it is of no use any more; whether it is in force is judged by `expires`.
if expires > 0 then redis.call('PEXPIREAT', record, expires) end
redis.call('ZADD', P .. a.kind .. 's', now, a.token)
return cjson.encode({created = now, expires = expires})
