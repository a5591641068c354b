-- How long jobs are remembered that are over.
-- needs: call, keys

local function retain(job, retire_ms)
  if job_field(job, 'keep') then
    redis.call('ZREM', P .. 'retire', job)
  else
    redis.call('ZADD', P .. 'retire', now + retire_ms, job)
  end
end
