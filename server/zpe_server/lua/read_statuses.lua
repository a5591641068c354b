-- Reads what a job's status shows, of one job or of a page of them.
-- a: jobs [ids]    Returns {jobs [record or false]} in the same order.
-- needs: call, keys, running, status, workers

local FIELDS = {'status', 'detail', 'created', 'updated', 'started', 'finished', 'owner', 'name', 'formula',
  'error', 'version', 'needs', 'taken_back', 'kind', 'stage', 'ionic_step', 'max_force', 'only', 'project',
  'tags', 'note', 'keep', 'zpe_ev'}

-- How far the SCFs of a job are, by what the workers told of those that are still theirs.
local function running(job)
  local asked, out = {}, {}
  for _, lease in ipairs(redis.call('HVALS', key('job', job, 'held'))) do
    if not asked[lease] then
      asked[lease] = true
      local worker = redis.call('HGET', key('lease', lease), 'worker')
      for _, scf in ipairs(told_of(lease) or {}) do
        scf.worker = worker and worker_name(worker) or nil
        table.insert(out, scf)
      end
    end
  end
  return out
end

local out = {}
for i, job in ipairs(a.jobs) do
  local f = redis.call('HMGET', key('job', job), unpack(FIELDS))
  out[i] = false
  if f[1] then
    local record = {job = job, progress = progress(job), workers = {}, running = running(job)}
    for n, field in ipairs(FIELDS) do record[field] = f[n] or nil end
    for _, worker in ipairs(redis.call('SMEMBERS', key('job', job, 'workers'))) do
      table.insert(record.workers, worker_name(worker))
    end
    record.expires = redis.call('ZSCORE', P .. 'retire', job) or nil
    record.dlq = redis.call('ZSCORE', P .. 'dlq', job) or nil
    out[i] = record
  end
end
return cjson.encode({jobs = out})
