-- Takes a lease back before its time (a clean shutdown, an admin): no attempt is counted.
-- a: lease, worker ('' for an admin), job ('' for an admin), reason    Returns {error} or {job}.

local record = redis.call('HMGET', key('lease', a.lease), 'worker', 'job', 'state')
if not record[1] then return cjson.encode({error = 'lease_not_found'}) end
if a.worker ~= '' and (record[1] ~= a.worker or record[2] ~= a.job) then
  return cjson.encode({error = 'lease_not_yours'})
end
if record[3] == 'held' then
  local job = return_lease(a.lease, 'released')
  remember(job, {what = 'released', worker = record[1], message = a.reason})
  if job_field(job, 'status') == 'started' then
    place(job)
    settle_status(job, a.reason)
  end
end
return cjson.encode({job = record[2]})
