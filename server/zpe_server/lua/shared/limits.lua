-- What an owner may have: jobs in the line, SCFs running at once on workers of others, bytes kept, and how far ahead of others.
-- An administrator's word about one owner counts before what goes for all (`usual`, without which there is no limit).
-- needs: keys, news

local function limit_of(owner, name, usual)
  local said = redis.call('HGET', key('owner', owner), 'max_' .. name)
  return said and tonumber(said) or usual
end

local function jobs_in_line(owner)
  return redis.call('ZCARD', key('index', owner, 'queued')) + redis.call('ZCARD', key('index', owner, 'started'))
end

-- SCFs of an owner's jobs that workers of others hold.
local function scfs_running(owner)
  local count = 0
  for _, job in ipairs(redis.call('ZRANGE', key('index', owner, 'started'), 0, -1)) do
    count = count + redis.call('HLEN', key('job', job, 'held'))
  end
  for _, worker in ipairs(count > 0 and redis.call('SMEMBERS', P .. 'owned') or {}) do
    if redis.call('HGET', key('worker', worker), 'owner') == owner then
      for _, lease in ipairs(redis.call('SMEMBERS', key('worker', worker, 'leases'))) do
        if job_field(redis.call('HGET', key('lease', lease), 'job'), 'owner') == owner then
          count = count - redis.call('SCARD', key('lease', lease, 'tasks'))
        end
      end
    end
  end
  return count
end

local function bytes_kept(owner)
  return tonumber(redis.call('HGET', key('owner', owner), 'bytes') or 0)
end

-- What is kept of a job has grown; a job that is forgotten has none.
local function count_bytes(job, owner, bytes)
  redis.call('HINCRBY', key('job', job), 'bytes', bytes)
  redis.call('HINCRBY', key('owner', owner), 'bytes', bytes)
end

local function forget_bytes(job, owner)
  local bytes = tonumber(job_field(job, 'bytes') or 0)
  if bytes > 0 and redis.call('HINCRBY', key('owner', owner), 'bytes', -bytes) == 0 then
    redis.call('HDEL', key('owner', owner), 'bytes')
  end
end

local SPENT_MS = 400 * 86400 * 1000

-- What SCFs have cost their owner: seconds of workers, by month.
local function count_seconds(owner, month, seconds)
  redis.call('HINCRBYFLOAT', key('spent', month), owner, seconds)
  redis.call('PEXPIRE', key('spent', month), SPENT_MS)
end

-- An owner who ran as many SCFs as allowed may run others: workers that passed over the jobs are to look again.
local function let_run_more(owner)
  if redis.call('SREM', P .. 'held_back', owner) == 1 then announce_work(1000000) end
end
