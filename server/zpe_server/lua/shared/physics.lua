-- A job's program, and the physics that its first forces pin.
-- needs: keys

-- What is to compute a job. One from before jobs said so goes on as it has begun.
local function engine_of(job, needs)
  return needs.engine or job_field(job, 'engine') or 'espresso'
end

local function pin(job, physics)
  redis.call('HSET', key('job', job), 'fingerprint', physics, 'engine', cjson.decode(physics).engine)
end

-- Where no forces are left, the next ones decide the physics anew, also for those whose physics were refused.
local function unpin_if_empty(job)
  if redis.call('HLEN', key('job', job, 'reports')) == 0 and redis.call('EXISTS', key('job', job, 'steps')) == 0 then
    redis.call('HDEL', key('job', job), 'fingerprint', 'engine')
    redis.call('DEL', key('job', job, 'avoid'))
  end
end
