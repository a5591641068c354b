-- Forgets the notices that were passed on, and gives the next to the one replica that passes them on.
-- a: replica (its name), claim_ms (for how long the others leave it to this one), upto (serial of the last that was
--    passed on; 0: none), limit
-- Returns {notices [JSON texts, the oldest first]}; none while another replica has the claim.
-- needs: call, keys

if a.upto > 0 then redis.call('ZREMRANGEBYSCORE', P .. 'notices', '-inf', a.upto) end
local holder = redis.call('GET', P .. 'notices:claim')
if holder and holder ~= '' and holder ~= a.replica then return cjson.encode({notices = {}}) end
redis.call('SET', P .. 'notices:claim', a.replica, 'PX', math.ceil(a.claim_ms))
return cjson.encode({notices = redis.call('ZRANGE', P .. 'notices', 0, a.limit - 1)})
