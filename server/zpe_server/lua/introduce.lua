-- Has a worker listed that did not enrol.  a: worker, name    Returns {}.
-- needs: call, keys

redis.call('HSET', key('worker', a.worker), 'name', a.name)
redis.call('HSETNX', key('worker', a.worker), 'registered', now)
return '{}'
