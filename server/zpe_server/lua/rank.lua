-- Finds a job's place in the line, from 0.  a: job    Returns {rank}, or {} if none of its tasks is due.
-- needs: call, keys

return cjson.encode({rank = redis.call('ZRANK', P .. 'ready', a.job) or nil})
