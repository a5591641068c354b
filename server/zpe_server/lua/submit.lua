-- Accepts a planned job, once per idempotency key, as far as its owner's limits go.
-- a: job, owner, only (for which workers it is, see owners.lua; absent: for any), priority,
--    limits {priority, jobs, scfs, bytes} (what goes for all; absent: an administrator, who has none), idempotency_key, digest, idempotency_ms, stage (see stage.lua),
--    labels {name, project, tags, note, keep}, asked (hash of what is asked for, apart from these), once (not if the
--    project has it by this name)
-- ARGV[2]: payload   ARGV[3]: plan   ARGV[4]: the task table
-- Returns {job, created, priority (among all), complete (nothing is left to compute)}, {conflict = true}, {taken = true}
-- where the name stands for something else, {over = 'jobs' | 'bytes', may}, or {disabled = true} while an admin has
-- stopped submission.
-- needs: call, keys, limits, projects, stage

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

if a.once then
  local known = redis.call('HGET', key('names', a.owner, a.labels.project), a.labels.name)
  local f = known and redis.call('HMGET', key('job', known), 'status', 'asked') or {}
  if f[1] and f[1] ~= 'cancelled' then
    if f[2] == a.asked then return cjson.encode({job = known, created = false}) end
    -- What has failed may be asked for otherwise.
    if f[1] ~= 'failed' then return cjson.encode({taken = true}) end
  end
end

if redis.call('HGET', P .. 'flags', 'submission_enabled') == '0' then return cjson.encode({disabled = true}) end
if a.limits then
  local has = {jobs = jobs_in_line(a.owner), bytes = bytes_kept(a.owner)}
  for _, name in ipairs({'jobs', 'bytes'}) do
    local may = limit_of(a.owner, name, a.limits[name])
    if may and has[name] >= may then return cjson.encode({over = name, may = may}) end
  end
end
local among_all = a.priority
if a.limits then among_all = math.min(a.priority, limit_of(a.owner, 'priority', a.limits.priority)) end
if a.idempotency_key ~= '' then
  local idem = key('idem', a.owner, a.idempotency_key)
  redis.call('HSET', idem, 'job', a.job, 'digest', a.digest)
  redis.call('PEXPIRE', idem, a.idempotency_ms)
  redis.call('HSET', record, 'idempotency_key', a.idempotency_key)
end

redis.call('HSET', record, 'created', now, 'updated', now, 'priority', a.priority,
  'among_all', among_all, 'turn', 0, 'owner', a.owner, 'asked', a.asked)
if a.only then redis.call('HSET', record, 'only', a.only) end
for field, value in pairs(a.labels) do
  redis.call('HSET', record, field, value)
end
if not a.limits then redis.call('HSET', record, 'unlimited', 1) end
redis.call('SADD', P .. 'owners', a.owner)
enter_project(a.job)
count_bytes(a.job, a.owner, #ARGV[2] + #ARGV[3] + #ARGV[4])
local complete = begin_stage(a.job, a.owner, a.stage, ARGV[2], ARGV[3], ARGV[4])
return cjson.encode({job = a.job, created = true, priority = among_all, complete = complete})
