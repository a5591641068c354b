-- Tells all servers that something has changed.
-- needs: keys

-- Wakes whoever long-polls: for work (n leases may now succeed) or for a change of one job.
local function announce_work(n)
  redis.call('PUBLISH', P .. 'events', 'work ' .. n)
end

-- What servers remember of tokens, or of which workers are drained, may have changed.
local function announce_principals()
  redis.call('PUBLISH', P .. 'events', 'principals')
end

local function announce_job(job)
  redis.call('PUBLISH', P .. 'events', 'job ' .. job)
end
