-- Workers: their names, and whether they are there.
-- needs: call, keys

local function worker_name(worker)
  return redis.call('HGET', key('worker', worker), 'name') or worker
end

local function seen(worker)
  redis.call('ZADD', P .. 'workers', now, worker)
  redis.call('ZADD', P .. 'present', now, worker)
end

-- It has said goodbye, or was shut out: nobody is to count on it.
local function gone(worker)
  redis.call('ZREM', P .. 'present', worker)
end

local function is_revoked(worker)
  return redis.call('HEXISTS', key('worker', worker), 'revoked') == 1
end
