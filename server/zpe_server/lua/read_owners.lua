-- Reads what researchers have and may have: of one, or of all of whom there is something: jobs, a token, a worker, a group,
-- an administrator's word about their limits.
-- a: owner (absent: all), usual {priority, jobs, scfs, bytes} (what goes for all), month (it is now)
-- Returns {owners [{name, groups [names], shows_jobs, workers, has {jobs, scfs, bytes}, seconds (that SCFs took in this month),
--   may and said {priority, ...}}]}; `said` is an administrator's word about this one alone.
-- needs: call, keys, limits

local LIMITS = {'priority', 'jobs', 'scfs', 'bytes'}

-- How many workers each owner has.
local workers = {}
for _, worker in ipairs(redis.call('SMEMBERS', P .. 'owned')) do
  local owner = redis.call('HGET', key('worker', worker), 'owner')
  if owner then workers[owner] = (workers[owner] or 0) + 1 end
end

local function said_of(owner)
  local said = {}
  for _, name in ipairs(LIMITS) do said[name] = limit_of(owner, name) end
  return said
end

local function everybody()
  local known, names = {}, {}
  for _, owner in ipairs(redis.call('SMEMBERS', P .. 'owners')) do
    if redis.call('EXISTS', key('index', owner, '*')) == 1 or next(said_of(owner)) then
      known[owner] = true
    else
      redis.call('SREM', P .. 'owners', owner)
    end
  end
  for _, token in ipairs(redis.call('ZRANGE', P .. 'tokens', 0, -1)) do
    local owner = redis.call('HGET', key('token', token), 'subject')
    if owner then known[owner] = true end
  end
  for _, group in ipairs(redis.call('SMEMBERS', P .. 'groups')) do
    for _, owner in ipairs(redis.call('SMEMBERS', key('group', group))) do known[owner] = true end
  end
  for _, owner in ipairs(redis.call('HKEYS', key('spent', a.month))) do known[owner] = true end
  for owner in pairs(workers) do known[owner] = true end
  for owner in pairs(known) do table.insert(names, owner) end
  table.sort(names)
  return names
end

local out = {}
for _, owner in ipairs(a.owner and {a.owner} or everybody()) do
  local entry = {
    name = owner, groups = redis.call('SMEMBERS', key('groups', owner)), workers = workers[owner] or 0,
    shows_jobs = redis.call('HGET', key('owner', owner), 'shows_jobs') == '1',
    has = {jobs = jobs_in_line(owner), scfs = scfs_running(owner), bytes = bytes_kept(owner)},
    seconds = tonumber(redis.call('HGET', key('spent', a.month), owner) or 0), may = {}, said = said_of(owner),
  }
  for _, name in ipairs(LIMITS) do entry.may[name] = limit_of(owner, name, a.usual[name]) end
  table.insert(out, entry)
end
return cjson.encode({owners = out})
