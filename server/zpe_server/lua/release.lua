-- Releases a lease before its time (a clean shutdown, an admin), or some tasks of it (for which its worker has no
-- room): no attempt is counted.
-- a: lease, worker, job, instance (all '' for an admin), ttl_ms, reason, tasks [or absent: all]
-- Returns {error} or {job}.
-- needs: call, history, keys, leases, line, status

if a.worker ~= '' then heard(a.worker, a.instance, a.ttl_ms) end
local record = redis.call('HMGET', key('lease', a.lease), 'worker', 'job', 'state')
if not record[1] then return cjson.encode({error = 'lease_not_found'}) end
if a.worker ~= '' and (record[1] ~= a.worker or record[2] ~= a.job) then
  return cjson.encode({error = 'lease_not_yours'})
end
if record[3] == 'held' and a.tasks then
  for _, task in ipairs(a.tasks) do
    release_task(a.lease, record[2], task)
  end
  settle_if_empty(a.lease)
  place(record[2])
  settle_status(record[2])
elseif record[3] == 'held' then
  local job = release_lease(a.lease, 'released')
  remember(job, {what = 'released', worker = record[1], message = a.reason})
  place(job)
  settle_status(job, a.reason)
end
return cjson.encode({job = record[2]})
