-- Shuts a worker out at once: its tokens open nothing any more and its leases are released, uncounted.
-- a: worker, by (its owner; '' for an administrator)    Returns {error = 'not_found'} or {revoked, jobs}.
-- needs: call, history, keys, leases, line, news, owners, status, workers

if not may_decide(a.worker, a.by) then return cjson.encode({error = 'not_found'}) end
local revoked = 0
for _, hash in ipairs(redis.call('SMEMBERS', key('worker', a.worker, 'tokens'))) do
  if redis.call('EXISTS', key('token', hash)) == 1 then
    redis.call('HSET', key('token', hash), 'role', 'revoked') -- as long as it would have lived
    revoked = revoked + 1
  end
end
redis.call('DEL', key('worker', a.worker, 'tokens'), key('worker', a.worker, 'shown'))
redis.call('SREM', P .. 'owned', a.worker)
announce_principals()
redis.call('HSET', key('worker', a.worker), 'revoked', now)
gone(a.worker)
local jobs = {}
for _, lease in ipairs(redis.call('SMEMBERS', key('worker', a.worker, 'leases'))) do
  local job = release_lease(lease, 'released')
  remember(job, {what = 'released', worker = a.worker, message = 'the worker was revoked'})
  place(job)
  settle_status(job, 'its worker was revoked; waiting for another one')
  table.insert(jobs, job)
end
return cjson.encode({revoked = revoked, jobs = jobs})
