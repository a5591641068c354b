-- What those who run the service may want to hear of, until it is passed on. Of too many, the oldest go.
-- needs: call, keys

local NOTICES_KEPT = 1000

local function notice(what, job, message)
  -- No replica passes anything on.
  if redis.call('EXISTS', P .. 'notices:claim') == 0 then return end
  local f = redis.call('HMGET', key('job', job), 'name', 'owner')
  local entry = {what = what, job = job, name = f[1] or nil, owner = f[2] or nil, message = message, at = now}
  entry.serial = redis.call('INCR', P .. 'notices:last')
  redis.call('ZADD', P .. 'notices', entry.serial, cjson.encode(entry))
  redis.call('ZREMRANGEBYRANK', P .. 'notices', 0, -NOTICES_KEPT - 1)
end
