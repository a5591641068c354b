-- Stores finished tasks. Each is stored once; the first one pins the job's physics. What a worker says of how it computed
-- them is held against its lease and against the job: what does not fit is refused, and the worker gets no more of it.
-- a: job, worker, instance, lease, ttl_ms, tasks [indices], fingerprints [canonical JSON texts], setups [hashes of
--    what the worker has brought to them], seconds [..], month (it is now), atoms [rows of forces in each], ends [atoms of the structure
--    in which a relaxation has ended; 0: it is a single SCF], keep_ms (how long SCFs are remembered for later jobs)
-- ARGV[2 i], ARGV[2 i + 1]: the report of the i-th task, and the short record of who ran it
-- Returns {error = 'not_found' | 'lease_not_yours' | 'malformed'} or
--   {accepted, idempotent, refused, reason, difference (to what was leased, if that is the reason), status, progress,
--    complete, lease_held, left (tasks still with the lease, if some were taken out of it)}
-- needs: call, ends, keys, leases, limits, line, news, origin, physics, scfs, shown, status, tasks, twins

heard(a.worker, a.instance, a.ttl_ms)
local status = job_field(a.job, 'status')
if not status then return cjson.encode({error = 'not_found'}) end
local lease = own_lease(a.lease, a.worker, a.job)
if not lease then return cjson.encode({error = 'lease_not_yours'}) end
renew(a.lease, a.ttl_ms)

local record, reports = key('job', a.job), key('job', a.job, 'reports')
local mine, attempts = key('lease', a.lease, 'tasks'), key('job', a.job, 'attempts')
local f = redis.call('HMGET', record, 'total', 'owner', 'nat', 'stage')
local total, owner = tonumber(f[1]), f[2]
local origin = origin_of(a.job)
-- A lease or a job from before these were noted has none of them.
local given = redis.call('EXISTS', key('lease', a.lease, 'given')) == 1 and key('lease', a.lease, 'given')
for i, atoms in ipairs(a.atoms) do
  if f[3] and atoms ~= tonumber(f[3]) then return cjson.encode({error = 'malformed'}) end
  if lease.stage == 'relax' and a.ends[i] ~= atoms then return cjson.encode({error = 'malformed'}) end
end
local all_there = status == 'finished' or redis.call('ZSCORE', P .. 'assemble', a.job)
local discarded = is_discarded(a.job, status)

-- A reply that was lost may bring an SCF once more that has been taken back since.
local function was_dropped(report)
  return redis.call('SISMEMBER', key('job', a.job, 'dropped'), redis.sha1hex(report)) == 1
end

local function judge(task, fingerprint, report)
  if was_dropped(report) then return 'idempotent' end
  -- Its tasks were others, of the same numbers.
  if lease.stage ~= (f[4] or 'vibrations') then return 'refused', 'stage_over' end
  if task >= total then return 'refused', 'no_such_task' end
  if given and redis.call('SISMEMBER', given, task) == 0 then return 'refused', 'not_leased' end
  if all_there or redis.call('HEXISTS', reports, task) == 1 then return 'idempotent' end
  if status == 'cancelled' then return 'refused', 'cancelled' end
  if discarded then return 'refused', 'discarded' end
  local holder = redis.call('HGET', key('job', a.job, 'held'), task)
  if holder and holder ~= a.lease then return 'refused', 'leased_again' end
  if is_for_another(a.job, task, a.worker) then return 'refused', 'same_worker' end
  local why = offence(a.job, lease, origin, fingerprint)
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

local out = {accepted = {}, idempotent = {}, refused = {}}
local offending, line_changed = {}, false
for i, task in ipairs(a.tasks) do
  local verdict, reason = judge(task, a.fingerprints[i], ARGV[2 * i])
  table.insert(out[verdict], task)
  if verdict == 'accepted' then
    if not origin.pinned then
      origin.pinned = a.fingerprints[i]
      pin(a.job, origin.pinned)
      line_changed = take_reserved(origin.pinned) or line_changed
    end
    redis.call('HSET', reports, task, ARGV[2 * i])
    redis.call('HSET', key('job', a.job, 'runs'), task, ARGV[2 * i + 1])
    redis.call('HSET', key('job', a.job, 'by'), task, a.worker)
    redis.call('HDEL', key('job', a.job, 'held'), task)
    redis.call('SREM', mine, task)
    -- What a lease gave back, or failed before it succeeded, stood in line.
    if redis.call('ZREM', key('job', a.job, 'open'), task) == 1 then line_changed = true end
    redis.call('HDEL', attempts, task .. ':lost', task .. ':compute')
    keep_for_later(task, origin.pinned, a.setups[i], ARGV[2 * i], ARGV[2 * i + 1])
    has_shown(a.worker, a.lease, a.setups[i])
    redis.call('HINCRBY', key('worker', a.worker), 'scf_done', 1)
    redis.call('HINCRBYFLOAT', key('worker', a.worker), 'scf_seconds', a.seconds[i])
    count_seconds(owner, a.month, a.seconds[i])
  elseif OFFENCES[reason] then
    if #offending == 0 then
      out.reason = reason
      out.difference = how_it_differs(a.job, lease, origin, reason, a.fingerprints[i])
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
  why = refuse_work(a.job, a.worker, a.lease, out.reason, out.difference, offending)
  line_changed = true
else
  settle_if_empty(a.lease)
  if #out.accepted > 0 then redis.call('ZADD', P .. 'spare', 'XX', now, a.lease) end
end

if #out.accepted > 0 and redis.call('HLEN', reports) == total then
  redis.call('HDEL', record, 'error', 'finished')
  to_assembly(a.job)
  set_status(a.job, 'started', 'all SCFs are done; ' .. what_remains(a.job))
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
if #out.accepted > 0 then let_run_more(owner) end
out.status = job_field(a.job, 'status')
out.progress = progress(a.job)
out.left = left_of(a.lease, lease.recalled)
out.lease_held = redis.call('HGET', key('lease', a.lease), 'state') == 'held'
return cjson.encode(out)
