-- The line: the order in which jobs are given out. Higher priority goes first; among equals, owners take turns, counted
-- in tasks. A job's turn is the number of tasks its owner has asked for before it, on a clock that all owners of a priority
-- share: it shows the turn of the job that was served last, and whoever comes new begins there. So a thousand jobs of one
-- owner stand behind one another, and the next one of somebody else stands beside the first of them. A job's turn moves on
-- with each task given out: a large job does not keep small ones waiting either.
--
--   turns  hash  <priority> -> the clock;  <priority> <owner> -> where the next job of this owner begins
-- needs: call, keys, news

local function leave_line(job)
  redis.call('ZREM', P .. 'ready', job)
  redis.call('ZREM', P .. 'delayed', job)
end

local function clock(priority)
  return tonumber(redis.call('HGET', P .. 'turns', priority) or 0)
end

-- Both fit exactly into a double.
local function stand_in_line(job, priority, turn)
  redis.call('HSET', key('job', job), 'turn', turn)
  redis.call('ZADD', P .. 'ready', string.format('%.0f', turn - priority * 1e13), job)
end

local function join_line(job, priority, owner, tasks)
  local mine = priority .. ' ' .. owner
  local turn = math.max(clock(priority), tonumber(redis.call('HGET', P .. 'turns', mine) or 0))
  redis.call('HSET', P .. 'turns', mine, turn + tasks)
  stand_in_line(job, priority, turn)
end

local function move_on(job, tasks)
  local f = redis.call('HMGET', key('job', job), 'priority', 'turn')
  local turn = tonumber(f[2])
  if turn > clock(f[1]) then redis.call('HSET', P .. 'turns', f[1], turn) end
  stand_in_line(job, f[1], turn + tasks)
end

-- Tasks that will not be run after all are not counted against their owner.
local function give_up_turns(job)
  local f = redis.call('HMGET', key('job', job), 'priority', 'owner')
  local mine = f[1] .. ' ' .. f[2]
  if redis.call('HEXISTS', P .. 'turns', mine) == 1 then
    redis.call('HINCRBY', P .. 'turns', mine, 0 - redis.call('ZCARD', key('job', job, 'open')))  -- -0 is no number to Redis
  end
end

-- Whether a living job stands in line follows from its open tasks alone. One that comes back goes to the front:
-- it had its turn.
local function place(job)
  local f = redis.call('HMGET', key('job', job), 'status', 'priority', 'turn')
  local status, open = f[1], key('job', job, 'open')
  local first = redis.call('ZRANGE', open, 0, 0, 'WITHSCORES')
  if #first == 0 or (status ~= 'queued' and status ~= 'started') then
    leave_line(job)
  elseif tonumber(first[2]) <= now then
    if not redis.call('ZSCORE', P .. 'ready', job) then
      stand_in_line(job, f[2], math.min(tonumber(f[3]), clock(f[2])))
    end
    redis.call('ZREM', P .. 'delayed', job)
    announce_work(redis.call('ZCARD', open))
  else
    redis.call('ZREM', P .. 'ready', job)
    redis.call('ZADD', P .. 'delayed', first[2], job)
  end
end
