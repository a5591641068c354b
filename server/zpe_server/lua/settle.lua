-- A worker settles a whole job in one go. Allowed for a lease over all that was left of the job.
-- a: job, worker, lease    ARGV[2], ARGV[3], ARGV[4]: result, summary, freqs
-- Returns {error = 'not_found' | 'lease_not_yours' | 'partial' | 'cancelled'}, {idempotent = true} or {settled = true}.

seen(a.worker)
local status = job_field(a.job, 'status')
if not status then return cjson.encode({error = 'not_found'}) end
local lease = own_lease(a.lease, a.worker, a.job)
if not lease then return cjson.encode({error = 'lease_not_yours'}) end
if status == 'finished' or redis.call('ZSCORE', P .. 'assemble', a.job) then
  if job_field(a.job, 'settled_by') == a.lease then return cjson.encode({idempotent = true}) end
  return cjson.encode({error = 'lease_not_yours'})
end
if status == 'cancelled' then return cjson.encode({error = 'cancelled'}) end
for _, holder in ipairs(redis.call('HVALS', key('job', a.job, 'held'))) do
  if holder ~= a.lease then return cjson.encode({error = 'lease_not_yours'}) end
end
-- Done tasks came from elsewhere only if the lease did not cover them; what is open was not covered either,
-- unless the lease has expired and given them back.
local f = redis.call('HMGET', key('lease', a.lease), 'count', 'state')
if tonumber(f[1]) ~= tonumber(job_field(a.job, 'total')) then return cjson.encode({error = 'partial'}) end
if f[2] == 'held' then
  redis.call('DEL', key('lease', a.lease, 'tasks'))
  redis.call('DEL', key('job', a.job, 'held'))
  end_lease(a.lease, 'settled')
end
redis.call('HSET', key('job', a.job, 'settled'), 'result', ARGV[2], 'summary', ARGV[3], 'freqs', ARGV[4])
redis.call('HSET', key('job', a.job), 'settled_by', a.lease)
redis.call('HDEL', key('job', a.job), 'error')
to_assembly(a.job)
set_status(a.job, 'started', 'storing the result')
return cjson.encode({settled = true})
