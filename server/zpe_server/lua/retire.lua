-- Forgets jobs whose retention is over. a: limit    Returns the jobs, so that their results can go too.

local jobs = redis.call('ZRANGEBYSCORE', P .. 'retire', '-inf', now, 'LIMIT', 0, a.limit)
for _, job in ipairs(jobs) do
  local f = redis.call('HMGET', key('job', job), 'status', 'owner')
  redis.call('ZREM', P .. 'retire', job)
  redis.call('ZREM', P .. 'jobs', job)
  if f[1] then
    redis.call('ZREM', key('state', f[1]), job)
    redis.call('ZREM', key('jobs', f[2]), job)
  end
  for _, part in ipairs({'open', 'held', 'reports', 'attempts', 'avoid', 'history', 'workers'}) do
    redis.call('DEL', key('job', job, part))
  end
  redis.call('DEL', key('job', job))
end
return cjson.encode({jobs = jobs})
