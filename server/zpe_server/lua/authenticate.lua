-- Says whose token this is.  a: token (hash)    Returns {} or {role, subject, name, left_ms (to live, or nil)};
-- the role of a worker that was shut out is revoked.
-- needs: call, keys, workers

local f = redis.call('HMGET', key('token', a.token), 'role', 'subject', 'expires')
if not f[1] or (f[3] and tonumber(f[3]) > 0 and tonumber(f[3]) <= now) then return '{}' end
local expires = tonumber(f[3] or 0)
return cjson.encode({
  role = f[1], subject = f[2], name = f[1] == 'worker' and worker_name(f[2]) or f[2],
  left_ms = expires > 0 and expires - now or nil,
})
