-- Forgets jobs whose retention is over and whose results are deleted.  a: jobs    Returns {}.

for _, job in ipairs(a.jobs) do
  local f = redis.call('HMGET', key('job', job), 'status')
  redis.call('ZREM', P .. 'retire', job)
  if f[1] then index(job, f[1], nil) end
  for _, part in ipairs({'open', 'held', 'reports', 'runs', 'settled', 'attempts', 'avoid', 'history', 'workers'}) do
    redis.call('DEL', key('job', job, part))
  end
  redis.call('DEL', key('job', job))
end
return '{}'
