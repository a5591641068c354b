-- Accepts a planned job, once per idempotency key.
-- a: job, owner, priority, total, full, idempotency_key, digest, idempotency_ms, fields
-- ARGV[2]: payload   ARGV[3]: plan   ARGV[4]: tasks
-- Returns {job, created}, {conflict = true}, or {disabled = true} while an admin has stopped submission.

if a.idempotency_key ~= '' then
  local known = redis.call('HMGET', key('idem', a.owner, a.idempotency_key), 'job', 'digest')
  if known[1] then
    if known[2] ~= a.digest then return cjson.encode({conflict = true}) end
    return cjson.encode({job = known[1], created = false})
  end
end

local record = key('job', a.job)
-- The client may have retried at the level of the connection: the second run of the same call is a no-op.
if redis.call('EXISTS', record) == 1 then
  return cjson.encode({job = a.job, created = false})
end

if redis.call('HGET', P .. 'flags', 'submission_enabled') == '0' then return cjson.encode({disabled = true}) end
if a.idempotency_key ~= '' then
  local idem = key('idem', a.owner, a.idempotency_key)
  redis.call('HSET', idem, 'job', a.job, 'digest', a.digest)
  redis.call('PEXPIRE', idem, a.idempotency_ms)
  redis.call('HSET', record, 'idempotency_key', a.idempotency_key)
end

-- Higher priority first, then first come first served; both fit exactly into a double.
local rank = string.format('%.0f', now - a.priority * 1e13)
redis.call('HSET', record,
  'created', now, 'updated', now, 'rank', rank,
  'owner', a.owner, 'total', a.total, 'full', a.full, 'reused', 0,
  'payload', ARGV[2], 'plan', ARGV[3], 'tasks', ARGV[4])
for field, value in pairs(a.fields) do
  redis.call('HSET', record, field, value)
end
for task = 0, a.total - 1 do
  redis.call('ZADD', key('job', a.job, 'open'), task, task)
end
set_status(a.job, 'queued')
place(a.job)
return cjson.encode({job = a.job, created = true})
