-- Gives a worker a new token; the old ones go on for a grace period, so that nothing in flight is refused.
-- a: worker, instance, ttl_ms, token (hash), token_ttl_ms, grace_ms
-- Returns {error = 'revoked'} or {registered, expires, name}.
-- needs: call, keys, leases, news, workers

if is_revoked(a.worker) then return cjson.encode({error = 'revoked'}) end
heard(a.worker, a.instance, a.ttl_ms)
local mine = key('worker', a.worker, 'tokens')
for _, hash in ipairs(redis.call('SMEMBERS', mine)) do
  local expires = tonumber(redis.call('HGET', key('token', hash), 'expires') or 0)
  if expires <= now then
    redis.call('DEL', key('token', hash))
    redis.call('SREM', mine, hash)
  elseif expires > now + a.grace_ms then
    redis.call('HSET', key('token', hash), 'expires', now + a.grace_ms)
    redis.call('PEXPIREAT', key('token', hash), now + a.grace_ms)
  end
end
redis.call('HSET', key('token', a.token), 'role', 'worker', 'subject', a.worker, 'created', now,
  'expires', now + a.token_ttl_ms, 'label', '')
redis.call('PEXPIREAT', key('token', a.token), now + a.token_ttl_ms)
redis.call('SADD', mine, a.token)
announce_principals()
local f = redis.call('HMGET', key('worker', a.worker), 'registered', 'name')
return cjson.encode({registered = tonumber(f[1]), expires = now + a.token_ttl_ms, name = f[2]})
