-- Cancels a queued or running job; its workers hear of it with their next heartbeat.
-- a: job, retire_ms, by    Returns {error = 'not_found' | 'over', status} or {status}.
-- needs: call, ends, history, keys, retention, status

local status = job_field(a.job, 'status')
if not status then return cjson.encode({error = 'not_found'}) end
if status == 'cancelled' then return cjson.encode({status = status}) end
if status ~= 'queued' and status ~= 'started' then return cjson.encode({error = 'over', status = status}) end
withdraw(a.job)
drop_tasks(a.job)
redis.call('HSET', key('job', a.job), 'finished', now)
retain(a.job, a.retire_ms)
remember(a.job, {what = 'cancelled', by = a.by})
set_status(a.job, 'cancelled', 'cancelled by ' .. a.by)
return cjson.encode({status = 'cancelled'})
