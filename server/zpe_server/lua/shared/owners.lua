-- Whose jobs a worker runs. A worker that a researcher has enrolled has an owner, whose jobs it always takes; those of the
-- groups that the owner is in, or everybody's, only by the owner's word. A job may be for some workers alone.
-- needs: keys

local WIDTH = {own = 1, group = 2, all = 3}

local function width(accepts)
  return WIDTH[accepts] or 1
end

-- The owner of a worker (nil: it is the administrators') and whose jobs it takes: no more than its owner lets it,
-- less if the machine itself says so.
local function terms_of(worker, at_most)
  local f = redis.call('HMGET', key('worker', worker), 'owner', 'accepts')
  local accepts = f[1] and (f[2] or 'own') or 'all'
  if at_most and width(at_most) < width(accepts) then accepts = at_most end
  return {owner = f[1] or nil, accepts = accepts}
end

local function takes(terms, owner)
  if terms.accepts == 'all' or owner == terms.owner then return true end
  return terms.accepts == 'group' and terms.owner ~= nil
    and #redis.call('SINTER', key('groups', terms.owner), key('groups', owner)) > 0
end

-- Whether a worker may run a job. `only` of a job says for which workers it is: {mine}, {workers (a set)} or {group}.
local function may_run(job, worker, terms)
  local f = redis.call('HMGET', key('job', job), 'owner', 'only')
  if not takes(terms, f[1]) then return false end
  if not f[2] then return true end
  local only = cjson.decode(f[2])
  if only.workers then return only.workers[worker] == true end
  if only.group then
    return terms.owner ~= nil and terms.accepts ~= 'own'
      and redis.call('SISMEMBER', key('groups', terms.owner), only.group) == 1
  end
  return terms.owner == f[1]
end

-- Whether somebody may decide about a worker: its owner, or an administrator ('').
local function may_decide(worker, by)
  local f = redis.call('HMGET', key('worker', worker), 'name', 'owner')
  return f[1] and (by == '' or f[2] == by)
end
