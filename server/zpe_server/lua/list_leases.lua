-- Lists the leases in force, the first to expire first.
-- Returns {now, leases [{lease, deadline, tasks, worker_name, job_name, job, worker, issued, renewals ...}]}.
-- needs: call, keys, workers

local out = {}
local deadlines = redis.call('ZRANGE', P .. 'leases', 0, -1, 'WITHSCORES')
for i = 1, #deadlines, 2 do
  local lease = deadlines[i]
  local record = redis.call('HGETALL', key('lease', lease))
  local entry = {lease = lease, deadline = deadlines[i + 1], tasks = redis.call('SMEMBERS', key('lease', lease, 'tasks'))}
  for n = 1, #record, 2 do entry[record[n]] = record[n + 1] end
  entry.worker_name = worker_name(entry.worker)
  entry.job_name = redis.call('HGET', key('job', entry.job), 'name') or nil
  table.insert(out, entry)
end
return cjson.encode({now = now, leases = out})
