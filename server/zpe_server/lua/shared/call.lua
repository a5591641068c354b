-- The arguments of this call, and when it is. Small arguments come as one JSON object, ARGV[1]; large texts follow as they are.
-- Only the transition itself reads `a`: what is shared gets from it what it works on.

local a = cjson.decode(ARGV[1])

-- Times are in ms by Redis's own clock: workers' and servers' clocks decide nothing.
local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
