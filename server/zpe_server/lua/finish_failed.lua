-- All tasks are done but the result could not be made or stored: the job fails, its tasks stay.
-- a: job, error, drop [tasks that are to be computed anew if the job is requeued]    Returns {failed}.

if not redis.call('ZSCORE', P .. 'assemble', a.job) then return cjson.encode({failed = false}) end
remember(a.job, {what = 'failed', class = 'result', code = a.error.code, message = a.error.message,
  traceback = a.error.traceback})
fail_job(a.job, a.error, a.error.message)
for _, task in ipairs(a.drop) do
  drop_report(a.job, task)
end
if #a.drop > 0 then redis.call('DEL', key('job', a.job, 'starts')) end
return cjson.encode({failed = true})
