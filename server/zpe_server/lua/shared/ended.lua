-- Jobs that have ended, until a server that traces jobs takes them. Of too many, the oldest go.
-- needs: call, keys

local ENDED_KEPT = 1000
local ENDS = {finished = true, failed = true, cancelled = true}

local function note_end(job, status)
  -- Nobody traces jobs.
  if not ENDS[status] or redis.call('EXISTS', P .. 'ended:wanted') == 0 then return end
  local record = key('job', job)
  local f = redis.call('HMGET', record, 'began', 'created', 'started', 'kind', 'nat', 'total', 'reused', 'error', 'traced')
  redis.call('HSET', record, 'traced', now)
  redis.call('RPUSH', P .. 'ended', cjson.encode({
    job = job, status = status, at = now, began = f[1] or nil, created = f[2], started = f[3] or nil, kind = f[4] or nil,
    nat = f[5] or nil, total = f[6], reused = f[7] or nil, error = f[8] or nil,
    -- It has gone on since: it was requeued, or a late report was its last one.
    before = f[9] or nil,
  }))
  redis.call('LTRIM', P .. 'ended', -ENDED_KEPT, -1)
end
