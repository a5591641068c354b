-- Reads what RQ has to be told.
-- Returns {now, ready (in order), dead, assemble [jobs]}; none are ready while no work is given out. RQ
-- cannot choose among its workers: what is for some workers alone waits for those that lease over HTTP.
-- needs: call, keys

local leasing = redis.call('HGET', P .. 'flags', 'dequeue_enabled') ~= '0'
local ready = {}
for _, job in ipairs(leasing and redis.call('ZRANGE', P .. 'ready', 0, -1) or {}) do
  if not job_field(job, 'only') then table.insert(ready, job) end
end
return cjson.encode({
  now = now,
  ready = ready,
  dead = redis.call('ZRANGE', P .. 'dlq', 0, -1),
  assemble = redis.call('ZRANGE', P .. 'assemble', 0, -1),
})
