-- Lists the workers with their leases and what they run, the last heard of first.
-- Returns {workers [{worker, seen, present, leases, running [{job_id, job_name, job_owner, task, ...}], ...}]}.
-- One whose record is lost has no name: it was heard of while its token was still trusted.
-- needs: keys, running

-- What a worker has told that it runs, with the jobs.
local function running(leases)
  local out = {}
  for _, lease in ipairs(leases) do
    for _, scf in ipairs(told_of(lease) or {}) do
      scf.job_id = redis.call('HGET', key('lease', lease), 'job')
      local f = redis.call('HMGET', key('job', scf.job_id), 'name', 'owner')
      scf.job_name, scf.job_owner = f[1] or nil, f[2] or nil
      table.insert(out, scf)
    end
  end
  return out
end

local out = {}
local seen_at = redis.call('ZREVRANGE', P .. 'workers', 0, -1, 'WITHSCORES')
for i = 1, #seen_at, 2 do
  local worker = seen_at[i]
  local record = redis.call('HGETALL', key('worker', worker))
  local entry = {worker = worker, seen = seen_at[i + 1], leases = redis.call('SMEMBERS', key('worker', worker, 'leases'))}
  for n = 1, #record, 2 do entry[record[n]] = record[n + 1] end
  entry.present = redis.call('ZSCORE', P .. 'present', worker) and true or false
  entry.running = running(entry.leases)
  if entry.name then table.insert(out, entry) end
end
return cjson.encode({workers = out})
