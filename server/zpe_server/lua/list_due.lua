-- Lists jobs whose retention is over.  a: limit    Returns {jobs}.
-- needs: call, keys

return cjson.encode({jobs = redis.call('ZRANGEBYSCORE', P .. 'retire', '-inf', now, 'LIMIT', 0, a.limit)})
