-- What runs under a lease, as its worker tells with its heartbeats.
-- needs: call, keys

-- How far the SCFs are that run; those that have ended since are left out. nil: the worker has not told.
local function told_of(lease)
  local f = redis.call('HMGET', key('lease', lease), 'running', 'told')
  if not f[1] then return nil end
  local scfs = {}
  for _, scf in ipairs(cjson.decode(f[1])) do
    if redis.call('SISMEMBER', key('lease', lease, 'tasks'), scf.task) == 1 then
      scf.seconds = scf.seconds + (now - tonumber(f[2] or now)) / 1000
      table.insert(scfs, scf)
    end
  end
  return scfs
end
