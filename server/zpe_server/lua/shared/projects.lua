-- Projects: what a researcher's jobs belong together by, and are found again by name.
-- needs: keys

local function enter_project(job)
  local f = redis.call('HMGET', key('job', job), 'owner', 'created', 'project', 'name')
  if not f[3] then return end
  for _, owner in ipairs({f[1], '*'}) do
    redis.call('ZADD', key('project', owner, f[3]), f[2], job)
  end
  if f[4] then redis.call('HSET', key('names', f[1], f[3]), f[4], job) end
end

local function leave_project(job)
  local f = redis.call('HMGET', key('job', job), 'owner', 'project', 'name')
  if not f[2] then return end
  for _, owner in ipairs({f[1], '*'}) do
    redis.call('ZREM', key('project', owner, f[2]), job)
  end
  local names = key('names', f[1], f[2])
  if f[3] and redis.call('HGET', names, f[3]) == job then redis.call('HDEL', names, f[3]) end
end
