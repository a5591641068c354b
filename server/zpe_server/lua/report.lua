-- Stores finished tasks. Each is stored once; the first one pins the job's physics.
-- a: job, worker, instance, lease, ttl_ms, tasks [indices], fingerprints [canonical JSON texts], setups [hashes of
--    what the worker has brought to them], seconds [..], atoms [rows of forces in each], keep_ms (how long SCFs are remembered for later jobs)
-- ARGV[2 i], ARGV[2 i + 1]: the report of a.tasks[i], and the short record of who ran it
-- Returns {error = 'not_found' | 'lease_not_yours' | 'malformed'} or
--   {accepted, idempotent, refused, reason, difference, status, progress, complete, lease_held,
--    left (tasks still with the lease, if some were taken out of it)}

heard()
local status = job_field(a.job, 'status')
if not status then return cjson.encode({error = 'not_found'}) end
local lease = own_lease(a.lease, a.worker, a.job)
if not lease then return cjson.encode({error = 'lease_not_yours'}) end
renew(a.lease, a.ttl_ms)

local record, reports = key('job', a.job), key('job', a.job, 'reports')
local mine, attempts = key('lease', a.lease, 'tasks'), key('job', a.job, 'attempts')
local f = redis.call('HMGET', record, 'total', 'fingerprint', 'owner', 'nat')
local total, pinned, owner = tonumber(f[1]), f[2], f[3]
for _, atoms in ipairs(a.atoms) do
  if f[4] and atoms ~= tonumber(f[4]) then return cjson.encode({error = 'malformed'}) end
end
local all_there = status == 'finished' or redis.call('ZSCORE', P .. 'assemble', a.job)
local discarded = is_discarded(a.job, status)

local function judge(task, fingerprint)
  if task >= total then return 'refused', 'no_such_task' end
  if all_there or redis.call('HEXISTS', reports, task) == 1 then return 'idempotent' end
  if status == 'cancelled' then return 'refused', 'cancelled' end
  if discarded then return 'refused', 'discarded' end
  local holder = redis.call('HGET', key('job', a.job, 'held'), task)
  if holder and holder ~= a.lease then return 'refused', 'leased_again' end
  if pinned and pinned ~= fingerprint then return 'refused', 'wrong_physics' end
  return 'accepted'
end

-- With the job's physics known, what was reserved is either taken over or has to be computed after all.
local function take_reserved(physics)
  local opened = false
  for _, task in ipairs(redis.call('SMEMBERS', key('job', a.job, 'reserved'))) do
    if not reuse(a.job, owner, task, physics, a.keep_ms) then
      open_task(a.job, task)
      opened = true
    end
  end
  redis.call('DEL', key('job', a.job, 'reserved'))
  return opened
end

-- Springs cost nothing to compute again, and must never pass for an SCF in a later job.
local function keep_for_later(task, physics, setup, report, run)
  local scf = redis.call('LINDEX', key('job', a.job, 'scf'), task)
  if scf and cjson.decode(physics).engine ~= 'mock' then
    redis.call('HSET', key('scf', owner, scf), 'report ' .. physics, report, 'run ' .. physics, run,
      'setup ' .. physics, setup)
    redis.call('PEXPIRE', key('scf', owner, scf), a.keep_ms)
  end
end

local function describe_difference(theirs, ours, name, out)
  if type(theirs) == 'table' and type(ours) == 'table' then
    local names = {}
    for part in pairs(theirs) do names[part] = true end
    for part in pairs(ours) do names[part] = true end
    for part in pairs(names) do
      describe_difference(theirs[part], ours[part], name and name .. ' ' .. part or part, out)
    end
  elseif theirs ~= ours then
    local function show(value)
      return (value == nil or value == cjson.null) and 'none' or tostring(value)
    end
    table.insert(out, name .. ': ' .. show(theirs) .. ' instead of ' .. show(ours))
  end
  return out
end

local out = {accepted = {}, idempotent = {}, refused = {}}
local alien, alien_tasks, line_changed = nil, {}, false
for i, task in ipairs(a.tasks) do
  local verdict, reason = judge(task, a.fingerprints[i])
  table.insert(out[verdict], task)
  if verdict == 'accepted' then
    if not pinned then
      pinned = a.fingerprints[i]
      pin(a.job, pinned)
      line_changed = take_reserved(pinned) or line_changed
    end
    redis.call('HSET', reports, task, ARGV[2 * i])
    redis.call('HSET', key('job', a.job, 'runs'), task, ARGV[2 * i + 1])
    redis.call('HDEL', key('job', a.job, 'held'), task)
    redis.call('SREM', mine, task)
    -- What a lease gave back, or failed before it succeeded, stood in line.
    if redis.call('ZREM', key('job', a.job, 'open'), task) == 1 then line_changed = true end
    redis.call('HDEL', attempts, task .. ':lost', task .. ':compute')
    keep_for_later(task, pinned, a.setups[i], ARGV[2 * i], ARGV[2 * i + 1])
    has_shown(a.worker, a.lease, a.setups[i])
    redis.call('HINCRBY', key('worker', a.worker), 'scf_done', 1)
    redis.call('HINCRBYFLOAT', key('worker', a.worker), 'scf_seconds', a.seconds[i])
  elseif reason == 'wrong_physics' then
    out.reason = reason
    alien = a.fingerprints[i]
    table.insert(alien_tasks, task)
  else
    out.reason = out.reason or reason
  end
end

-- Progress on a lease says that its worker was alive: the rest starts counting anew.
if #out.accepted > 0 and redis.call('EXISTS', attempts) == 1 then
  for _, task in ipairs(redis.call('SMEMBERS', mine)) do
    redis.call('HDEL', attempts, task .. ':lost')
  end
end

local why = nil
if alien then
  local parts = describe_difference(cjson.decode(alien), cjson.decode(pinned), nil, {})
  table.sort(parts)
  out.difference = table.concat(parts, '; ')
  why = 'results of worker ' .. worker_name(a.worker)
    .. ' were refused, their physics differ from those of the first (' .. out.difference .. ')'
  avoid(a.job, a.worker, a.lease, why)
  remember(a.job, {what = 'refused', worker = a.worker, code = 'wrong_physics', message = why, tasks = alien_tasks})
  if lease.state == 'held' then return_lease(a.lease, 'lost') end
  line_changed = true
else
  settle_if_empty(a.lease)
  if #out.accepted > 0 then redis.call('ZADD', P .. 'spare', 'XX', now, a.lease) end
end

if #out.accepted > 0 and redis.call('HLEN', reports) == total then
  redis.call('HDEL', record, 'error', 'finished')
  to_assembly(a.job)
  set_status(a.job, 'started', 'all SCFs are done; computing the frequencies')
  out.complete = true
elseif #out.accepted > 0 or alien then
  if line_changed then place(a.job) end
  if status == 'failed' then
    touch(a.job)
    announce_job(a.job)
  else
    settle_status(a.job, why)
  end
end
out.status = job_field(a.job, 'status')
out.progress = progress(a.job)
out.left = left_of(a.lease, lease.recalled)
out.lease_held = redis.call('HGET', key('lease', a.lease), 'state') == 'held'
return cjson.encode(out)
