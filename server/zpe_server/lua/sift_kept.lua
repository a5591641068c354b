-- Counts SCFs that are kept for later jobs by where they come from, or drops them.
-- a: keys [of SCFs], drop, and what they must have, each '' if any will do: owner, worker (id or name), version,
--    pseudopotential (name, or the beginning of its SHA-256)
-- Returns {groups [{owner, worker, name, print (fingerprint), count}], dropped}.
-- needs: call, keys, workers

local name_of_worker = a.worker ~= '' and worker_name(a.worker) or ''

local function has_pseudopotential(print)
  for file, hash in pairs(print.pseudopotentials or {}) do
    if file == a.pseudopotential or string.sub(hash, 1, #a.pseudopotential) == a.pseudopotential then return true end
  end
  return false
end

local function is_meant(print, by, name)
  -- Those that do not say by an id who computed them say it by a name.
  if a.worker ~= '' and by ~= a.worker and name ~= a.worker and (by or name ~= name_of_worker) then return false end
  if a.version ~= '' and print.engine_version ~= a.version then return false end
  return a.pseudopotential == '' or has_pseudopotential(print)
end

local groups, order, dropped = {}, {}, 0
for _, scf in ipairs(a.keys) do
  local owner = string.match(string.sub(scf, #(P .. 'scf:') + 1), '^(.*):[^:]*$')
  for _, field in ipairs((a.owner == '' or owner == a.owner) and redis.call('HKEYS', scf) or {}) do
    local physics = string.match(field, '^run (.*)$')
    local print = physics and cjson.decode(physics)
    local f = physics and redis.call('HMGET', scf, field, 'by ' .. physics)
    local name = physics and cjson.decode(f[1]).worker
    if physics and is_meant(print, f[2], name) then
      if a.drop then
        redis.call('HDEL', scf, 'report ' .. physics, 'run ' .. physics, 'by ' .. physics, 'setup ' .. physics)
        dropped = dropped + 1
      end
      -- Without the hash of the input: as many groups as SCFs would say nothing.
      print.physics = nil
      local group = {owner = owner, worker = f[2] or nil, name = name, print = print}
      local text = cjson.encode(group)
      if not groups[text] then
        groups[text] = group
        group.count = 0
        table.insert(order, group)
      end
      groups[text].count = groups[text].count + 1
    end
  end
end
return cjson.encode({groups = order, dropped = dropped})
