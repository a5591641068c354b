-- Stops or resumes giving work to a worker; what it holds, it finishes.
-- a: worker, by (its owner; '' for an administrator), drain    Returns {error = 'not_found'} or {}.
-- needs: call, keys, news, owners

if not may_decide(a.worker, a.by) then return cjson.encode({error = 'not_found'}) end
if a.drain then
  redis.call('HSET', key('worker', a.worker), 'draining', '1')
else
  redis.call('HDEL', key('worker', a.worker), 'draining')
  announce_work(1000)
end
announce_principals()
return '{}'
