-- All tasks are done but the result could not be made or stored: the job fails. Its tasks stay, but those whose forces are
-- in doubt: these are computed anew if the job gets another chance, and no later job takes them over.
-- a: job, error, generation (as for finish), doubtful [tasks]    Returns {failed}.

if a.generation ~= (job_field(a.job, 'generation') or '0') then return cjson.encode({failed = false}) end
if not redis.call('ZSCORE', P .. 'assemble', a.job) then return cjson.encode({failed = false}) end
remember(a.job, {what = 'failed', class = 'result', code = a.error.code, message = a.error.message,
  traceback = a.error.traceback})
fail_job(a.job, a.error, a.error.message)
local physics = job_field(a.job, 'fingerprint')
for _, task in ipairs(a.doubtful) do
  local scf = redis.call('LINDEX', key('job', a.job, 'scf'), task)
  if scf and scf ~= '' then
    redis.call('HDEL', key('scf', job_field(a.job, 'owner'), scf), 'report ' .. physics, 'run ' .. physics,
      'by ' .. physics)
  end
  for _, part in ipairs({'reports', 'runs', 'by'}) do redis.call('HDEL', key('job', a.job, part), task) end
  open_task(a.job, task)
end
return cjson.encode({failed = true})
