-- Stops or resumes giving work to a worker; what it holds, it finishes.
-- a: worker, drain    Returns {error = 'not_found'} or {}.
-- needs: call, keys, news

if redis.call('EXISTS', key('worker', a.worker)) == 0 then return cjson.encode({error = 'not_found'}) end
if a.drain then
  redis.call('HSET', key('worker', a.worker), 'draining', '1')
else
  redis.call('HDEL', key('worker', a.worker), 'draining')
  announce_work(1000)
end
announce_principals()
return '{}'
