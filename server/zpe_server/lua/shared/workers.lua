-- Workers: their names, and whether they are there.
-- needs: call, keys

local function worker_name(worker)
  return redis.call('HGET', key('worker', worker), 'name') or worker
end

local function seen(worker)
  redis.call('ZADD', P .. 'workers', now, worker)
  redis.call('ZADD', P .. 'present', now, worker)
end

-- It was shut out, or has said goodbye: nobody is to count on it.
local function gone(worker)
  redis.call('ZREM', P .. 'present', worker)
end

-- A process of it has said goodbye. What comes from this one later was under way: it is no sign of life any more.
local function says_goodbye(worker, instance)
  gone(worker)
  redis.call('HSET', key('worker', worker), 'ended', instance)
end

local function has_ended(worker, instance)
  return instance ~= '' and redis.call('HGET', key('worker', worker), 'ended') == instance
end

local function is_revoked(worker)
  return redis.call('HEXISTS', key('worker', worker), 'revoked') == 1
end
