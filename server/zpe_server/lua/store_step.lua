-- Stores an ionic step of a relaxation, and where it goes from there, so that nothing of it is lost with its worker.
-- a: job, worker, instance, lease, ttl_ms, task, index (of the step), atoms (rows of positions and forces),
--    fingerprint (canonical JSON text), max_force (eV/Å), seconds
-- ARGV[2]: the step   ARGV[3]: where the relaxation goes on
-- Returns {error = 'not_found' | 'lease_not_yours' | 'malformed' | 'step_missing'} or
--   {stored, lease_held, status, reason, difference (to what was leased, if that is the reason)}.
-- needs: call, keys, leases, line, news, origin, physics, status

heard(a.worker, a.instance, a.ttl_ms)
local f = redis.call('HMGET', key('job', a.job), 'status', 'stage', 'nat')
if not f[1] then return cjson.encode({error = 'not_found'}) end
local lease = own_lease(a.lease, a.worker, a.job)
if not lease then return cjson.encode({error = 'lease_not_yours'}) end
if a.atoms ~= tonumber(f[3]) then return cjson.encode({error = 'malformed'}) end
renew(a.lease, a.ttl_ms)

local steps = key('job', a.job, 'steps')
local function answer(out)
  out.status = job_field(a.job, 'status')
  out.lease_held = redis.call('HGET', key('job', a.job, 'held'), a.task) == a.lease
  return cjson.encode(out)
end

-- Where others have gone on, theirs counts. Of a lease that was lost, a step is welcome as long as nobody has.
local holder = redis.call('HGET', key('job', a.job, 'held'), a.task)
local count = redis.call('LLEN', steps)
local over = f[1] ~= 'queued' and f[1] ~= 'started'
if over or (holder and holder ~= a.lease) or lease.stage ~= 'relax' or f[2] ~= 'relax' or a.index < count then return answer({stored = false}) end
if a.index > count then return cjson.encode({error = 'step_missing'}) end

local origin = origin_of(a.job)
local why = offence(a.job, lease, origin, a.fingerprint)
if why then
  local how = how_it_differs(a.job, lease, origin, why, a.fingerprint)
  local told = refuse_work(a.job, a.worker, a.lease, why, how, {a.task})
  place(a.job)
  settle_status(a.job, told)
  return answer({stored = false, reason = why, difference = how})
end
if not origin.pinned then pin(a.job, a.fingerprint) end
redis.call('RPUSH', steps, ARGV[2])
redis.call('SET', key('job', a.job, 'course'), ARGV[3])
redis.call('SADD', key('job', a.job, 'relaxed_by'), a.worker)
redis.call('HINCRBY', key('worker', a.worker), 'scf_done', 1)
redis.call('HINCRBYFLOAT', key('worker', a.worker), 'scf_seconds', a.seconds)
-- Something came of it: failures start counting anew.
redis.call('HDEL', key('job', a.job, 'attempts'), a.task .. ':lost', a.task .. ':compute')
touch(a.job, 'ionic_step', count + 1, 'max_force', a.max_force)
announce_job(a.job)
return answer({stored = true})
