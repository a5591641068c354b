-- Whether forces come from what their lease was given for: program, version, files, physics.
-- needs: history, keys, leases, physics, versions, workers

-- What a job's forces must come from. A job from before these were noted has none of them.
local function origin_of(job)
  local f = redis.call('HMGET', key('job', job), 'fingerprint', 'physics', 'needs')
  return {pinned = f[1], physics = f[2], needs = f[3] and cjson.decode(f[3])}
end

local function same_names(files, names)
  local count = 0
  for _ in pairs(files) do count = count + 1 end
  for _, name in ipairs(names) do
    if not files[name] then return false end
  end
  return count == #names
end

-- Environ takes part where the job wants it and only there, with the input that came with the job if one did.
local function same_environ(environ, needs)
  local told = type(environ) == 'string' and environ or nil
  if needs.environ_sha256 then
    return told ~= nil and string.sub(told, -#needs.environ_sha256) == needs.environ_sha256
  end
  return (told ~= nil) == (needs.environ or false)
end

-- Says how something was computed otherwise than it was leased; nil if it was not.
local function offence(job, lease, origin, fingerprint)
  local theirs, needs = cjson.decode(fingerprint), origin.needs
  if needs then
    if theirs.engine ~= engine_of(job, needs) then return 'wrong_engine' end
    if lease.engine ~= '' and theirs.engine ~= lease.engine then return 'wrong_engine' end
    if lease.engine_version ~= '' and theirs.engine_version ~= lease.engine_version then return 'wrong_engine' end
    if theirs.engine ~= 'mock' and not same_names(theirs.pseudopotentials or {}, needs.pseudopotentials) then
      return 'wrong_pseudopotentials'
    end
    if theirs.engine ~= 'mock' and not same_environ(theirs.environ, needs) then return 'wrong_environ' end
    if theirs.engine ~= 'mock' and not has_version(theirs.engine_version or '', needs) then return 'wrong_version' end
  end
  if origin.physics and theirs.physics ~= origin.physics then return 'wrong_physics' end
  if origin.pinned and origin.pinned ~= fingerprint then return 'wrong_physics' end
  return nil
end

local function describe_difference(theirs, ours, name, out)
  if type(theirs) == 'table' and type(ours) == 'table' then
    local names = {}
    for part in pairs(theirs) do names[part] = true end
    for part in pairs(ours) do names[part] = true end
    for part in pairs(names) do
      describe_difference(theirs[part], ours[part], name and name .. ' ' .. part or part, out)
    end
  elseif theirs ~= ours then
    local function show(value)
      return (value == nil or value == cjson.null) and 'none' or tostring(value)
    end
    table.insert(out, name .. ': ' .. show(theirs) .. ' instead of ' .. show(ours))
  end
  return out
end

-- Says what was not as it had to be.
local function how_it_differs(job, lease, origin, reason, fingerprint)
  local theirs, needs = cjson.decode(fingerprint), origin.needs
  if reason == 'not_leased' then return 'its lease does not have them' end
  if reason == 'wrong_engine' then
    local version = lease.engine_version ~= '' and ' ' .. lease.engine_version or ''
    return theirs.engine .. ' ' .. (theirs.engine_version or '') .. ' instead of ' .. engine_of(job, needs) .. version
  end
  if reason == 'wrong_pseudopotentials' then
    local names = {}
    for name in pairs(theirs.pseudopotentials or {}) do table.insert(names, name) end
    table.sort(names)
    return (#names > 0 and table.concat(names, ', ') or 'none') .. ' instead of '
      .. table.concat(needs.pseudopotentials, ', ')
  end
  if reason == 'wrong_environ' then
    return (type(theirs.environ) == 'string' and theirs.environ or 'no Environ') .. ' instead of '
      .. (needs.environ_sha256 or (needs.environ and 'Environ' or 'none'))
  end
  if reason == 'wrong_version' then return 'pw.x ' .. theirs.engine_version end
  local ours = origin.pinned and cjson.decode(origin.pinned) or {physics = origin.physics}
  if not origin.pinned then theirs = {physics = theirs.physics} end
  local parts = describe_difference(theirs, ours, nil, {})
  table.sort(parts)
  return table.concat(parts, '; ')
end

local OFFENCES = {
  not_leased = 'they are of SCFs that it was not given',
  wrong_engine = 'they are from another program than it was given the SCFs for',
  wrong_pseudopotentials = 'their pseudopotentials are not those of the input',
  wrong_physics = 'their physics are not those of the job',
  wrong_environ = 'their Environ is not the one that the job wants',
  wrong_version = 'the input cannot be run with their version of pw.x',
}

-- Keeps a worker from a job of which it has computed something else, and gives the rest of its lease to others; returns
-- what there is to say.
local function refuse_work(job, worker, lease, reason, how, tasks)
  local why = 'results of worker ' .. worker_name(worker) .. ' were refused, ' .. OFFENCES[reason] .. ' (' .. how .. ')'
  avoid(job, worker, lease, why)
  remember(job, {what = 'refused', worker = worker, code = reason, message = why, tasks = tasks})
  if redis.call('HGET', key('lease', lease), 'state') == 'held' then release_lease(lease, 'lost') end
  return why
end
