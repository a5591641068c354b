-- Changes the labels of a job: what is empty is taken away, what is not given stays.
-- a: job, labels {project, tags, note, keep}, retire_ms    Returns {error = 'not_found'} or {}.
-- needs: call, keys, news, projects, retention, status

local status = job_field(a.job, 'status')
if not status then return cjson.encode({error = 'not_found'}) end
local kept = job_field(a.job, 'keep') or ''
leave_project(a.job)
for field, value in pairs(a.labels) do
  if value == '' then
    redis.call('HDEL', key('job', a.job), field)
  else
    redis.call('HSET', key('job', a.job), field, value)
  end
end
enter_project(a.job)
local is_over = status == 'finished' or status == 'cancelled' or is_discarded(a.job, status)
if is_over and (a.labels.project or (a.labels.keep or kept) ~= kept) then retain(a.job, a.retire_ms) end
touch(a.job)
announce_job(a.job)
return '{}'
