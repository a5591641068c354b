-- All tasks are done but the result could not be made or stored: the job fails. Its tasks stay, but those whose forces are
-- in doubt: these are computed anew if the job gets another chance, and no later job takes them over.
-- a: job, error, generation (as for finish), doubtful [tasks]    Returns {failed}.
-- needs: call, ends, history, keys, physics, scfs

if a.generation ~= (job_field(a.job, 'generation') or '0') then return cjson.encode({failed = false}) end
if not redis.call('ZSCORE', P .. 'assemble', a.job) then return cjson.encode({failed = false}) end
remember(a.job, {what = 'failed', class = 'result', code = a.error.code, message = a.error.message,
  traceback = a.error.traceback})
fail_job(a.job, a.error, a.error.message)
for _, task in ipairs(a.doubtful) do drop_report(a.job, task) end
if #a.doubtful > 0 then redis.call('DEL', key('job', a.job, 'starts')) end
unpin_if_empty(a.job)
return cjson.encode({failed = true})
