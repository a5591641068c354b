-- Says how long the jobs of a project are remembered once they are over, also of those that are over already; none of them goes
-- sooner than in grace_ms.
-- a: owner, project, ms (absent: as for all), usual_ms, grace_ms
-- Returns {jobs (how many are over)}.
-- needs: call, keys

local field = a.owner .. ' ' .. a.project
if a.ms then
  redis.call('HSET', P .. 'retention', field, string.format('%.0f', a.ms))
else
  redis.call('HDEL', P .. 'retention', field)
end
local over = 0
for _, job in ipairs(redis.call('ZRANGE', key('project', a.owner, a.project), 0, -1)) do
  local due = tonumber(redis.call('ZSCORE', P .. 'retire', job))
  if due then
    over = over + 1
    local ended = tonumber(job_field(job, 'finished') or now)
    local at = ended + (a.ms or a.usual_ms)
    -- What goes sooner anyway is not kept for longer by that.
    redis.call('ZADD', P .. 'retire', math.max(at, math.min(due, now + a.grace_ms)), job)
  end
end
return cjson.encode({jobs = over})
