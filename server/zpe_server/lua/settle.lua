-- A worker settles a whole job in one go. Allowed for a lease, even a lost one, over all of the job, as long as
-- nobody else holds a part of it.
-- a: job, worker, instance, lease, ttl_ms    ARGV[2], ARGV[3], ARGV[4]: result, summary, freqs
-- Returns {error = 'not_found' | 'lease_not_yours' | 'partial' | 'cancelled' | 'discarded'},
--   {idempotent = true} or {settled = true}.
-- needs: call, ends, keys, leases, limits, status

heard(a.worker, a.instance, a.ttl_ms)
local status = job_field(a.job, 'status')
if not status then return cjson.encode({error = 'not_found'}) end
if not own_lease(a.lease, a.worker, a.job) then return cjson.encode({error = 'lease_not_yours'}) end
if status == 'cancelled' then return cjson.encode({error = 'cancelled'}) end
if job_field(a.job, 'settled_by') == a.lease then return cjson.encode({idempotent = true}) end
if status == 'finished' or redis.call('ZSCORE', P .. 'assemble', a.job) then
  return cjson.encode({error = 'lease_not_yours'})
end
if is_discarded(a.job, status) then return cjson.encode({error = 'discarded'}) end
for _, holder in ipairs(redis.call('HVALS', key('job', a.job, 'held'))) do
  if holder ~= a.lease then return cjson.encode({error = 'lease_not_yours'}) end
end
local f = redis.call('HMGET', key('lease', a.lease), 'count', 'state')
if f[1] ~= job_field(a.job, 'total') then return cjson.encode({error = 'partial'}) end
redis.call('DEL', key('job', a.job, 'held'))
if f[2] == 'held' then end_lease(a.lease, 'settled') end
redis.call('HSET', key('job', a.job, 'settled'), 'result', ARGV[2], 'summary', ARGV[3], 'freqs', ARGV[4])
redis.call('HSET', key('job', a.job), 'settled_by', a.lease)
redis.call('HSET', key('job', a.job, 'by'), '*', a.worker)
redis.call('HDEL', key('job', a.job), 'error', 'finished')
to_assembly(a.job)
set_status(a.job, 'started', 'storing the result')
let_run_more(job_field(a.job, 'owner'))
return cjson.encode({settled = true})
