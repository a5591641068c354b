-- Marks a job finished once its result is stored. The first caller wins; the others change nothing.
-- a: job, retire_ms    Returns {finished}.

if redis.call('ZREM', P .. 'assemble', a.job) == 0 then return cjson.encode({finished = false}) end
redis.call('HSET', key('job', a.job), 'finished', now)
redis.call('HDEL', key('job', a.job), 'error')
redis.call('ZADD', P .. 'retire', now + a.retire_ms, a.job)
set_status(a.job, 'finished')
-- The result holds all that is worth keeping of these.
redis.call('DEL', key('job', a.job, 'reports'), key('job', a.job, 'attempts'), key('job', a.job, 'avoid'),
  key('job', a.job, 'settled'))
return cjson.encode({finished = true})
