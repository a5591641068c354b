-- What has happened to a job, newest first, as its page shows it.
-- needs: call, keys, workers

local HISTORY_MAX = 200

local function remember(job, event)
  event.at = now
  event.worker = event.worker and worker_name(event.worker)
  local list = key('job', job, 'history')
  redis.call('LPUSH', list, cjson.encode(event))
  redis.call('LTRIM', list, 0, HISTORY_MAX - 1)
end
