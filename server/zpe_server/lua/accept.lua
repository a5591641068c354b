-- Changes whose jobs a worker takes from now on; what it holds, it finishes.
-- a: worker, by (its owner; '' for an administrator), accepts ('own' | 'group' | 'all')
-- Returns {error = 'not_found' | 'no_owner'} or {}.
-- needs: call, keys, news, owners

if not may_decide(a.worker, a.by) then return cjson.encode({error = 'not_found'}) end
if redis.call('HEXISTS', key('worker', a.worker), 'owner') == 0 then return cjson.encode({error = 'no_owner'}) end
redis.call('HSET', key('worker', a.worker), 'accepts', a.accepts)
announce_work(1000000)
return '{}'
