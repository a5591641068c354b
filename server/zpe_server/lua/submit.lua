-- Accepts a planned job, once per idempotency key.
-- a: job, owner, priority, total, full, idempotency_key, digest, idempotency_ms, fields,
--    scf_keys [by task; '' where none is to be taken over], copies [tasks that the last ones are copies of],
--    reuse (take over what earlier jobs of the owner have computed), keep_ms,
--    alive_ms (whoever was heard of so long ago counts as a worker)
-- ARGV[2]: payload   ARGV[3]: plan   ARGV[4]: the task table
-- Returns {job, created, complete (nothing is left to compute)}, {conflict = true}, or
-- {disabled = true} while an admin has stopped submission.
-- needs: call, ends, keys, line, news, physics, scfs, shown, status, versions

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

redis.call('HSET', record,
  'created', now, 'updated', now, 'priority', a.priority, 'turn', 0,
  'owner', a.owner, 'total', a.total, 'full', a.full, 'reused', 0,
  'payload', ARGV[2], 'plan', ARGV[3], 'tasks', ARGV[4])
for field, value in pairs(a.fields) do
  redis.call('HSET', record, field, value)
end
for _, scf in ipairs(a.scf_keys) do
  redis.call('RPUSH', key('job', a.job, 'scf'), scf)
end

for n, original in ipairs(a.copies) do
  local copy = a.total - #a.copies + n - 1
  redis.call('HSET', key('job', a.job, 'twins'), copy, original, original, copy)
end

-- Earlier SCFs may be of several physics (another pw.x, other pseudopotential files). Those that cover most of the
-- job are of use, the others are not: they never mix. Among those that cover all of it, one that a worker would
-- compute today goes first.
local function best_covered()
  local by_physics, best, best_rank = {}, nil, nil
  local needs = cjson.decode(a.fields.needs or '{}')
  local function may_serve(physics)
    return has_version(cjson.decode(physics).engine_version or '', needs)
  end
  for i, scf in ipairs(a.reuse and a.scf_keys or {}) do
    for _, field in ipairs(scf ~= '' and redis.call('HKEYS', key('scf', a.owner, scf)) or {}) do
      if string.sub(field, 1, 7) == 'report ' then
        local physics = string.sub(field, 8)
        if may_serve(physics) then
          by_physics[physics] = by_physics[physics] or {}
          table.insert(by_physics[physics], i - 1)
        end
      end
    end
  end
  for physics, tasks in pairs(by_physics) do
    local rank = #tasks
    if rank == a.total and is_shown(redis.call('HGET', key('scf', a.owner, a.scf_keys[1]), 'setup ' .. physics), a.alive_ms) then
      rank = rank + 1
    end
    if not best or rank > best_rank or (rank == best_rank and physics < best) then
      best, best_rank = physics, rank
    end
  end
  return best, best and by_physics[best] or {}, best ~= nil and best_rank > a.total
end

local physics, covered, complete = best_covered()
-- Forces depend on files that are not in the request. As long as nobody has computed with those of the earlier SCFs,
-- one SCF is run again, and its fingerprint tells.
if not complete and #covered == a.total then table.remove(covered, 1) end
if complete then
  pin(a.job, physics)
  for _, task in ipairs(covered) do
    reuse(a.job, a.owner, task, physics, a.keep_ms)
  end
  redis.call('HSET', record, 'started', now)
  to_assembly(a.job)
  set_status(a.job, 'started', 'all SCFs are known from earlier jobs; computing the frequencies')
else
  -- Whether a worker with the same physics will come is not known yet: its first result tells.
  for _, task in ipairs(covered) do
    redis.call('SADD', key('job', a.job, 'reserved'), task)
  end
  for task = 0, a.total - 1 do
    if redis.call('SISMEMBER', key('job', a.job, 'reserved'), task) == 0 then
      redis.call('ZADD', key('job', a.job, 'open'), task, task)
    end
  end
  set_status(a.job, 'queued')
  join_line(a.job, a.priority, a.owner, a.total - #covered)
  announce_work(a.total - #covered)
end
return cjson.encode({job = a.job, created = true, complete = complete})
