-- How long jobs are remembered that are over: as is said of their project, else as for all.
-- needs: call, keys

local function retain(job, retire_ms)
  local f = redis.call('HMGET', key('job', job), 'keep', 'owner', 'project')
  if f[1] then
    redis.call('ZREM', P .. 'retire', job)
    return
  end
  local own = f[3] and redis.call('HGET', P .. 'retention', f[2] .. ' ' .. f[3])
  redis.call('ZADD', P .. 'retire', now + tonumber(own or retire_ms), job)
end
