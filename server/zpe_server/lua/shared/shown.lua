-- With which program and files workers have computed.
-- needs: call, keys, workers

local SHOWN_MAX = 256

-- Notes it of a worker whose capabilities tell when one of these changes.
local function has_shown(worker, lease, setup)
  local f = redis.call('HMGET', key('worker', worker), 'digest', 'capabilities')
  if f[1] ~= redis.call('HGET', key('lease', lease), 'digest') or not f[2] or f[2] == '' then return end
  if type(cjson.decode(f[2]).files_sha256) ~= 'string' then return end
  local shown = key('worker', worker, 'shown')
  redis.call('ZADD', shown, now, f[1] .. ' ' .. setup)
  redis.call('ZREMRANGEBYRANK', shown, 0, -1 - SHOWN_MAX)
end

-- Whether a living worker, as it is now, has computed with this program and these files.
local function is_shown(setup, alive_ms)
  if not setup then return false end
  for _, worker in ipairs(redis.call('ZRANGEBYSCORE', P .. 'present', now - alive_ms, '+inf')) do
    local digest = not is_revoked(worker) and redis.call('HGET', key('worker', worker), 'digest')
    if digest and redis.call('ZSCORE', key('worker', worker, 'shown'), digest .. ' ' .. setup) then return true end
  end
  return false
end
