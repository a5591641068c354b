-- A job's status: its detail, its version, the indexes by status, its progress.
-- needs: call, ended, keys, news, notices

local WAITING = 'waiting for a worker that can run it: '

local function touch(job, ...)
  redis.call('HSET', key('job', job), 'updated', now, ...)
  redis.call('HINCRBY', key('job', job), 'version', 1)
end

-- Moves a job between the indexes of old and new status; either may be nil.
local function index(job, old, new)
  local f = redis.call('HMGET', key('job', job), 'owner', 'created')
  for _, owner in ipairs({f[1], '*'}) do
    if old then redis.call('ZREM', key('index', owner, old), job) end
    if new then
      redis.call('ZADD', key('index', owner, new), f[2], job)
      redis.call('ZADD', key('index', owner, '*'), f[2], job)
    else
      redis.call('ZREM', key('index', owner, '*'), job)
    end
  end
end

local function set_status(job, status, detail)
  local old = job_field(job, 'status')
  if old ~= status then index(job, old, status) end
  touch(job, 'status', status, 'detail', detail or '')
  announce_job(job)
  if old ~= status and (status == 'finished' or status == 'failed') then notice(status, job, detail or '') end
  if old ~= status then note_end(job, status) end
end

-- A job nobody works on is queued again; one with a held task stays started. Without detail, the previous one is kept.
local function settle_status(job, detail)
  local status = job_field(job, 'status')
  if status == 'queued' or status == 'started' then
    local idle = redis.call('HLEN', key('job', job, 'held')) == 0
    set_status(job, idle and 'queued' or 'started', detail or job_field(job, 'detail'))
  end
end

-- Whether an admin has taken a failed job out of the DLQ for good.
local function is_discarded(job, status)
  return status == 'failed' and not redis.call('ZSCORE', P .. 'dlq', job)
end

local function progress(job)
  local f = redis.call('HMGET', key('job', job), 'status', 'total', 'reused', 'full')
  -- Not by the reports: a job that is over keeps none.
  local done = redis.call('HLEN', key('job', job, 'runs'))
  if f[1] == 'finished' then done = tonumber(f[2]) end
  return {
    done = done, total = tonumber(f[2]), reused = tonumber(f[3] or 0), full = tonumber(f[4]),
    running = redis.call('HLEN', key('job', job, 'held')),
  }
end

local function jobs_by_status()
  local counts = {}
  for _, status in ipairs({'queued', 'started', 'finished', 'failed', 'cancelled'}) do
    counts[status] = redis.call('ZCARD', key('index', '*', status))
  end
  return counts
end
