-- Forgets jobs whose retention is over and whose results are deleted.  a: jobs    Returns {}.
-- needs: call, keys, limits, projects, status

for _, job in ipairs(a.jobs) do
  local f = redis.call('HMGET', key('job', job), 'status', 'owner', 'idempotency_key')
  redis.call('ZREM', P .. 'retire', job)
  if f[2] then forget_bytes(job, f[2]) end
  if f[1] then index(job, f[1], nil) end
  leave_project(job)
  if f[3] and redis.call('HGET', key('idem', f[2], f[3]), 'job') == job then
    redis.call('DEL', key('idem', f[2], f[3]))
  end
  for _, lease in ipairs(redis.call('SMEMBERS', key('job', job, 'leases'))) do
    redis.call('DEL', key('lease', lease), key('lease', lease, 'given'))
  end
  for _, part in ipairs({'open', 'held', 'reports', 'runs', 'by', 'twins', 'scf', 'reserved', 'settled', 'attempts',
    'avoid', 'history', 'workers', 'leases', 'starts', 'dropped', 'steps', 'course', 'relaxed_by'}) do
    redis.call('DEL', key('job', job, part))
  end
  redis.call('DEL', key('job', job))
end
return '{}'
