-- Workers: their names, and whether they are there.
-- needs: call, keys

local function worker_name(worker)
  return redis.call('HGET', key('worker', worker), 'name') or worker
end

local function seen(worker)
  redis.call('ZADD', P .. 'workers', now, worker)
end

local function is_revoked(worker)
  return redis.call('HEXISTS', key('worker', worker), 'revoked') == 1
end
