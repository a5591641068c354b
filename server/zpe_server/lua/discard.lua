-- Takes a job out of the DLQ for good; it stays failed and is forgotten after its retention.
-- a: job, by, retire_ms    Returns {error = 'not_found' | 'not_in_dlq'} or {}.
-- needs: call, ends, history, keys, news, retention, status

if not job_field(a.job, 'status') then return cjson.encode({error = 'not_found'}) end
if redis.call('ZREM', P .. 'dlq', a.job) == 0 then return cjson.encode({error = 'not_in_dlq'}) end
remember(a.job, {what = 'discarded', by = a.by})
drop_tasks(a.job)
retain(a.job, a.retire_ms)
touch(a.job)
announce_job(a.job)
return '{}'
