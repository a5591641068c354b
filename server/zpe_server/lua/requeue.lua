-- Gives a job of the DLQ another chance: same id, history and finished tasks kept, counts from zero.
-- a: job, by    Returns {error = 'not_found' | 'not_in_dlq'} or {status, progress, complete}.
-- needs: call, ends, history, keys, line, status, tasks

if not job_field(a.job, 'status') then return cjson.encode({error = 'not_found'}) end
if redis.call('ZREM', P .. 'dlq', a.job) == 0 then return cjson.encode({error = 'not_in_dlq'}) end
redis.call('DEL', key('job', a.job, 'attempts'), key('job', a.job, 'avoid'))
redis.call('HDEL', key('job', a.job), 'error', 'finished')
remember(a.job, {what = 'requeued', by = a.by})
-- A relaxation may take as many steps again.
redis.call('HSET', key('job', a.job), 'steps_from', redis.call('LLEN', key('job', a.job, 'steps')))
-- What waited out a delay when the job failed may run at once.
for _, task in ipairs(redis.call('ZRANGE', key('job', a.job, 'open'), 0, -1)) do
  open_task(a.job, task)
end
local complete = redis.call('HLEN', key('job', a.job, 'reports')) == tonumber(job_field(a.job, 'total'))
  or redis.call('EXISTS', key('job', a.job, 'settled')) == 1
if complete then
  to_assembly(a.job)
  set_status(a.job, 'started', 'requeued; all SCFs are done, ' .. what_remains(a.job))
else
  set_status(a.job, 'queued', 'requeued')
  place(a.job)
end
return cjson.encode({status = job_field(a.job, 'status'), progress = progress(a.job), complete = complete})
