-- All tasks are done but the result could not be made or stored: the job fails, its tasks stay.
-- a: job, error, generation (as for finish)    Returns {failed}.

if a.generation ~= (job_field(a.job, 'generation') or '0') then return cjson.encode({failed = false}) end
if not redis.call('ZSCORE', P .. 'assemble', a.job) then return cjson.encode({failed = false}) end
remember(a.job, {what = 'failed', class = 'result', code = a.error.code, message = a.error.message,
  traceback = a.error.traceback})
fail_job(a.job, a.error, a.error.message)
return cjson.encode({failed = true})
