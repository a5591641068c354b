-- Tasks that wait for somebody to run them.
-- needs: keys

local function open_task(job, task, not_before)
  redis.call('HDEL', key('job', job, 'held'), task)
  redis.call('ZADD', key('job', job, 'open'), not_before or task, task)
end
