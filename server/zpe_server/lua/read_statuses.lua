-- Reads what a job's status shows, of one job or of a page of them.
-- a: jobs [ids]    Returns {jobs [record or false]} in the same order.
-- needs: call, keys, status, workers

local FIELDS = {'status', 'detail', 'created', 'updated', 'started', 'finished', 'owner', 'name', 'formula',
  'error', 'version', 'needs', 'taken_back', 'kind', 'stage', 'ionic_step', 'max_force'}

local out = {}
for i, job in ipairs(a.jobs) do
  local f = redis.call('HMGET', key('job', job), unpack(FIELDS))
  out[i] = false
  if f[1] then
    local record = {job = job, progress = progress(job), workers = {}}
    for n, field in ipairs(FIELDS) do record[field] = f[n] or nil end
    for _, worker in ipairs(redis.call('SMEMBERS', key('job', job, 'workers'))) do
      table.insert(record.workers, worker_name(worker))
    end
    record.dlq = redis.call('ZSCORE', P .. 'dlq', job) or nil
    out[i] = record
  end
end
return cjson.encode({jobs = out})
