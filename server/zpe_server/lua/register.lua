-- Consumes an enroll token and creates the worker it stood for, with its first worker token.
-- a: enroll (hash), worker, name, token (hash), token_ttl_ms    ARGV[2]: meta
-- Returns {error = 'invalid'} or {registered, expires, name}.
-- needs: call, keys, workers

local enroll = key('enroll', a.enroll)
local label, expires = unpack(redis.call('HMGET', enroll, 'label', 'expires'))
if not expires or tonumber(expires) <= now then return cjson.encode({error = 'invalid'}) end
redis.call('DEL', enroll)
redis.call('ZREM', P .. 'enrolls', a.enroll)

label = label or ''
local name = a.name ~= '' and a.name or label ~= '' and label or 'worker ' .. string.sub(a.worker, -8)
redis.call('HSET', key('worker', a.worker), 'name', name, 'label', label, 'registered', now, 'meta', ARGV[2])
seen(a.worker)
redis.call('HSET', key('token', a.token), 'role', 'worker', 'subject', a.worker, 'created', now,
  'expires', now + a.token_ttl_ms, 'label', label)
redis.call('PEXPIREAT', key('token', a.token), now + a.token_ttl_ms)
redis.call('SADD', key('worker', a.worker, 'tokens'), a.token)
return cjson.encode({registered = now, expires = now + a.token_ttl_ms, name = worker_name(a.worker)})
