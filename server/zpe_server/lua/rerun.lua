-- Opens tasks of a job whose SCFs are all in, but not all of one electronic state: they are run again from other starts.
-- a: job, again [{task, before (the start of the SCF that was judged, '' for the first), start, misfit (eV), message}]
-- Returns {rerun (count)}; 0 where another process has decided already.

if not redis.call('ZSCORE', P .. 'assemble', a.job) then return cjson.encode({rerun = 0}) end
local starts = key('job', a.job, 'starts')
for _, it in ipairs(a.again) do
  if (redis.call('HGET', starts, it.task) or '') ~= it.before then return cjson.encode({rerun = 0}) end
end
redis.call('ZREM', P .. 'assemble', a.job)
for _, it in ipairs(a.again) do
  drop_report(a.job, it.task)
  redis.call('HSET', starts, it.task, it.start)
  redis.call('HSETNX', starts, it.task .. ':misfit', it.misfit)
  remember(a.job, {what = 'run_again', code = 'electronic_state_differs', message = it.message, tasks = {it.task}})
end
place(a.job)
settle_status(a.job, #a.again .. ' SCF(s) ended in another electronic state and are run again')
return cjson.encode({rerun = #a.again})
