-- Opens tasks of a job whose SCFs are all in, but not all of one electronic state: they are run again from other starts.
-- a: job, generation (of what was judged), again [{task, start, misfit (eV), message}]
-- Returns {rerun (count)}; 0 where another process has decided already.
-- needs: call, history, keys, line, scfs, status

if a.generation ~= (job_field(a.job, 'generation') or '0') or redis.call('ZREM', P .. 'assemble', a.job) == 0 then
  return cjson.encode({rerun = 0})
end
redis.call('HINCRBY', key('job', a.job), 'generation', 1)
local starts = key('job', a.job, 'starts')
for _, it in ipairs(a.again) do
  drop_report(a.job, it.task)
  redis.call('HSET', starts, it.task, it.start)
  redis.call('HSETNX', starts, it.task .. ':misfit', it.misfit)
  remember(a.job, {what = 'run_again', code = 'electronic_state_differs', message = it.message, tasks = {it.task}})
  -- What is compared with it has to start from there too.
  local twin = redis.call('HGET', key('job', a.job, 'twins'), it.task)
  if twin then
    drop_report(a.job, twin)
    redis.call('HSET', starts, twin, it.start)
  end
end
place(a.job)
settle_status(a.job, #a.again .. ' SCF(s) ended in another electronic state and are run again')
return cjson.encode({rerun = #a.again})
