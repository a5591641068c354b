-- Stores finished tasks. Each is stored once; the first one pins the job's physics. What a worker says of how it computed
-- them is held against its lease and against the job: what does not fit is refused, and the worker gets no more of it.
-- a: job, worker, instance, lease, ttl_ms, tasks [indices], fingerprints [canonical JSON texts], setups [hashes of
--    what the worker has brought to them], seconds [..], atoms [rows of forces in each], keep_ms (how long SCFs are
--    remembered for later jobs)
-- ARGV[2 i], ARGV[2 i + 1]: the report of the i-th task, and the short record of who ran it
-- Returns {error = 'not_found' | 'lease_not_yours' | 'malformed'} or
--   {accepted, idempotent, refused, reason, difference (to what was leased, if that is the reason), status, progress,
--    complete, lease_held, left (tasks still with the lease, if some were taken out of it)}
-- needs: call, ends, history, keys, leases, line, news, physics, scfs, shown, status, tasks, twins, versions, workers

heard(a.worker, a.instance, a.ttl_ms)
local status = job_field(a.job, 'status')
if not status then return cjson.encode({error = 'not_found'}) end
local lease = own_lease(a.lease, a.worker, a.job)
if not lease then return cjson.encode({error = 'lease_not_yours'}) end
renew(a.lease, a.ttl_ms)

local record, reports = key('job', a.job), key('job', a.job, 'reports')
local mine, attempts = key('lease', a.lease, 'tasks'), key('job', a.job, 'attempts')
local f = redis.call('HMGET', record, 'total', 'fingerprint', 'owner', 'nat', 'physics', 'needs')
local total, pinned, owner, physics = tonumber(f[1]), f[2], f[3], f[5]
local needs = f[6] and cjson.decode(f[6])
-- A lease or a job from before these were noted has none of them.
local given = redis.call('EXISTS', key('lease', a.lease, 'given')) == 1 and key('lease', a.lease, 'given')
for _, atoms in ipairs(a.atoms) do
  if f[4] and atoms ~= tonumber(f[4]) then return cjson.encode({error = 'malformed'}) end
end
local all_there = status == 'finished' or redis.call('ZSCORE', P .. 'assemble', a.job)
local discarded = is_discarded(a.job, status)

-- A reply that was lost may bring an SCF once more that has been taken back since.
local function was_dropped(report)
  return redis.call('SISMEMBER', key('job', a.job, 'dropped'), redis.sha1hex(report)) == 1
end

local function same_names(files, names)
  local count = 0
  for _ in pairs(files) do count = count + 1 end
  for _, name in ipairs(names) do
    if not files[name] then return false end
  end
  return count == #names
end

-- Environ takes part where the job wants it and only there, with the input that came with the job if one did.
local function same_environ(environ, needs)
  local told = type(environ) == 'string' and environ or nil
  if needs.environ_sha256 then
    return told ~= nil and string.sub(told, -#needs.environ_sha256) == needs.environ_sha256
  end
  return (told ~= nil) == (needs.environ or false)
end

-- Says how a task was computed otherwise than it was leased.
local function offence(fingerprint)
  local theirs = cjson.decode(fingerprint)
  if needs then
    if theirs.engine ~= engine_of(a.job, needs) then return 'wrong_engine' end
    if lease.engine ~= '' and theirs.engine ~= lease.engine then return 'wrong_engine' end
    if lease.engine_version ~= '' and theirs.engine_version ~= lease.engine_version then return 'wrong_engine' end
    if theirs.engine ~= 'mock' and not same_names(theirs.pseudopotentials or {}, needs.pseudopotentials) then
      return 'wrong_pseudopotentials'
    end
    if theirs.engine ~= 'mock' and not same_environ(theirs.environ, needs) then return 'wrong_environ' end
    if theirs.engine ~= 'mock' and not has_version(theirs.engine_version or '', needs) then return 'wrong_version' end
  end
  if physics and theirs.physics ~= physics then return 'wrong_physics' end
  if pinned and pinned ~= fingerprint then return 'wrong_physics' end
  return nil
end

local function judge(task, fingerprint, report)
  if task >= total then return 'refused', 'no_such_task' end
  if given and redis.call('SISMEMBER', given, task) == 0 then return 'refused', 'not_leased' end
  if all_there or redis.call('HEXISTS', reports, task) == 1 or was_dropped(report) then return 'idempotent' end
  if status == 'cancelled' then return 'refused', 'cancelled' end
  if discarded then return 'refused', 'discarded' end
  local holder = redis.call('HGET', key('job', a.job, 'held'), task)
  if holder and holder ~= a.lease then return 'refused', 'leased_again' end
  if is_for_another(a.job, task, a.worker) then return 'refused', 'same_worker' end
  local why = offence(fingerprint)
  if why then return 'refused', why end
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
  if scf and scf ~= '' and cjson.decode(physics).engine ~= 'mock' then
    redis.call('HSET', key('scf', owner, scf), 'report ' .. physics, report, 'run ' .. physics, run,
      'by ' .. physics, a.worker, 'setup ' .. physics, setup)
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

-- Says what was not as it had to be.
local function difference(reason, fingerprint)
  local theirs = cjson.decode(fingerprint)
  if reason == 'not_leased' then return 'its lease does not have them' end
  if reason == 'wrong_engine' then
    local version = lease.engine_version ~= '' and ' ' .. lease.engine_version or ''
    return theirs.engine .. ' ' .. (theirs.engine_version or '') .. ' instead of ' .. engine_of(a.job, needs) .. version
  end
  if reason == 'wrong_pseudopotentials' then
    local names = {}
    for name in pairs(theirs.pseudopotentials or {}) do table.insert(names, name) end
    table.sort(names)
    return (#names > 0 and table.concat(names, ', ') or 'none') .. ' instead of '
      .. table.concat(needs.pseudopotentials, ', ')
  end
  if reason == 'wrong_environ' then
    return (type(theirs.environ) == 'string' and theirs.environ or 'no Environ') .. ' instead of '
      .. (needs.environ_sha256 or (needs.environ and 'Environ' or 'none'))
  end
  if reason == 'wrong_version' then return 'pw.x ' .. theirs.engine_version end
  local ours = pinned and cjson.decode(pinned) or {physics = physics}
  if not pinned then theirs = {physics = theirs.physics} end
  local parts = describe_difference(theirs, ours, nil, {})
  table.sort(parts)
  return table.concat(parts, '; ')
end

local WHAT = {
  not_leased = 'they are of SCFs that it was not given',
  wrong_engine = 'they are from another program than it was given the SCFs for',
  wrong_pseudopotentials = 'their pseudopotentials are not those of the input',
  wrong_physics = 'their physics are not those of the job',
  wrong_environ = 'their Environ is not the one that the job wants',
  wrong_version = 'the input cannot be run with their version of pw.x',
}

local out = {accepted = {}, idempotent = {}, refused = {}}
local offending, line_changed = {}, false
for i, task in ipairs(a.tasks) do
  local verdict, reason = judge(task, a.fingerprints[i], ARGV[2 * i])
  table.insert(out[verdict], task)
  if verdict == 'accepted' then
    if not pinned then
      pinned = a.fingerprints[i]
      pin(a.job, pinned)
      line_changed = take_reserved(pinned) or line_changed
    end
    redis.call('HSET', reports, task, ARGV[2 * i])
    redis.call('HSET', key('job', a.job, 'runs'), task, ARGV[2 * i + 1])
    redis.call('HSET', key('job', a.job, 'by'), task, a.worker)
    redis.call('HDEL', key('job', a.job, 'held'), task)
    redis.call('SREM', mine, task)
    -- What a lease gave back, or failed before it succeeded, stood in line.
    if redis.call('ZREM', key('job', a.job, 'open'), task) == 1 then line_changed = true end
    redis.call('HDEL', attempts, task .. ':lost', task .. ':compute')
    keep_for_later(task, pinned, a.setups[i], ARGV[2 * i], ARGV[2 * i + 1])
    has_shown(a.worker, a.lease, a.setups[i])
    redis.call('HINCRBY', key('worker', a.worker), 'scf_done', 1)
    redis.call('HINCRBYFLOAT', key('worker', a.worker), 'scf_seconds', a.seconds[i])
  elseif WHAT[reason] then
    if #offending == 0 then
      out.reason = reason
      out.difference = difference(reason, a.fingerprints[i])
    end
    table.insert(offending, task)
  else
    out.reason = out.reason or reason
    -- Its twin came late, under another lease of this worker.
    if reason == 'same_worker' and release_task(a.lease, a.job, task) then line_changed = true end
  end
end

-- Progress on a lease says that its worker was alive: the rest starts counting anew.
if #out.accepted > 0 and redis.call('EXISTS', attempts) == 1 then
  for _, task in ipairs(redis.call('SMEMBERS', mine)) do
    redis.call('HDEL', attempts, task .. ':lost')
  end
end

local why = nil
if #offending > 0 then
  why = 'results of worker ' .. worker_name(a.worker) .. ' were refused, ' .. WHAT[out.reason]
    .. ' (' .. out.difference .. ')'
  avoid(a.job, a.worker, a.lease, why)
  remember(a.job, {what = 'refused', worker = a.worker, code = out.reason, message = why, tasks = offending})
  if lease.state == 'held' then release_lease(a.lease, 'lost') end
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
elseif #out.accepted > 0 or #offending > 0 or line_changed then
  if line_changed then place(a.job) end
  if status == 'failed' or all_there then
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
