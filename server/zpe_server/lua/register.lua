-- Consumes an enroll token and creates the worker it stood for, with its first worker token.
-- a: enroll (hash), worker, name, token (hash), token_ttl_ms    ARGV[2]: meta
-- A worker is its owner's from the beginning: an enroll token says whose, and whose jobs the worker takes.
-- Returns {error = 'invalid'} or {registered, expires, name, owner and accepts (if it has an owner)}.
-- needs: call, keys, workers

local enroll = key('enroll', a.enroll)
local label, expires, owner, accepts = unpack(redis.call('HMGET', enroll, 'label', 'expires', 'owner', 'accepts'))
if not expires or tonumber(expires) <= now then return cjson.encode({error = 'invalid'}) end
redis.call('DEL', enroll)
redis.call('ZREM', P .. 'enrolls', a.enroll)

label = label or ''
local name = a.name ~= '' and a.name or label ~= '' and label or 'worker ' .. string.sub(a.worker, -8)
redis.call('HSET', key('worker', a.worker), 'name', name, 'label', label, 'registered', now, 'meta', ARGV[2])
if owner then
  redis.call('HSET', key('worker', a.worker), 'owner', owner, 'accepts', accepts)
  redis.call('SADD', P .. 'owned', a.worker)
end
seen(a.worker)
redis.call('HSET', key('token', a.token), 'role', 'worker', 'subject', a.worker, 'created', now,
  'expires', now + a.token_ttl_ms, 'label', label)
redis.call('PEXPIREAT', key('token', a.token), now + a.token_ttl_ms)
redis.call('SADD', key('worker', a.worker, 'tokens'), a.token)
return cjson.encode({registered = now, expires = now + a.token_ttl_ms, name = worker_name(a.worker),
  owner = owner or nil, accepts = accepts or nil})
