-- Accepts a planned job, once per idempotency key.
-- a: job, owner, priority, idempotency_key, digest, idempotency_ms, stage (see stage.lua)
-- ARGV[2]: payload   ARGV[3]: plan   ARGV[4]: the task table
-- Returns {job, created, complete (nothing is left to compute)}, {conflict = true}, or
-- {disabled = true} while an admin has stopped submission.
-- needs: call, keys, stage

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

redis.call('HSET', record, 'created', now, 'updated', now, 'priority', a.priority, 'turn', 0, 'owner', a.owner)
local complete = begin_stage(a.job, a.owner, a.priority, a.stage, ARGV[2], ARGV[3], ARGV[4])
return cjson.encode({job = a.job, created = true, complete = complete})
