-- Reads what RQ has to be told.
-- Returns {now, ready (in order), dead, assemble [jobs]}; none are ready while no work is given out.
-- needs: call, keys

local leasing = redis.call('HGET', P .. 'flags', 'dequeue_enabled') ~= '0'
return cjson.encode({
  now = now,
  ready = leasing and redis.call('ZRANGE', P .. 'ready', 0, -1) or {},
  dead = redis.call('ZRANGE', P .. 'dlq', 0, -1),
  assemble = redis.call('ZRANGE', P .. 'assemble', 0, -1),
})
