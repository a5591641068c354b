-- Takes jobs that have ended, for a server that traces them, and has the next ones kept. Each is taken once: with a reply that
-- is lost, so are they.
-- a: limit, wanted_ms (for so long they are kept if nobody asks)
-- Returns {ended [JSON texts, the first to end first]}; see shared/ended.lua.
-- needs: call, keys

redis.call('SET', P .. 'ended:wanted', '', 'PX', math.ceil(a.wanted_ms))
local ended = redis.call('LRANGE', P .. 'ended', 0, a.limit - 1)
redis.call('LTRIM', P .. 'ended', #ended, -1)
return cjson.encode({ended = ended})
