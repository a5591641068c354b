-- Puts a job's next stage in the place of one whose tasks are all done. The physics stay pinned: a structure that one
-- program has relaxed is no minimum of another.
-- a: job, generation (of what the stage was planned from), stage (see stage.lua)
-- ARGV[2]: payload   ARGV[3]: plan   ARGV[4]: the task table
-- Returns {advanced, complete (nothing is left to compute)}; not advanced where another process has decided already.
-- needs: call, history, keys, stage

if a.generation ~= (job_field(a.job, 'generation') or '0') or redis.call('ZREM', P .. 'assemble', a.job) == 0 then
  return cjson.encode({advanced = false})
end
redis.call('HINCRBY', key('job', a.job), 'generation', 1)
-- A report whose reply was lost may come once more, when the next stage has a task of that number.
for _, report in ipairs(redis.call('HVALS', key('job', a.job, 'reports'))) do
  redis.call('SADD', key('job', a.job, 'dropped'), redis.sha1hex(report))
end
for _, part in ipairs({'reports', 'runs', 'by', 'attempts', 'starts', 'scf', 'twins', 'reserved'}) do
  redis.call('DEL', key('job', a.job, part))
end
remember(a.job, {what = 'next stage', message = 'the next stage: ' .. a.stage.fields.stage})
local complete = begin_stage(a.job, job_field(a.job, 'owner'), a.stage, ARGV[2], ARGV[3], ARGV[4])
return cjson.encode({advanced = true, complete = complete})
