-- The line: the order in which jobs are given out. Higher priority goes first; among equals, owners take turns, counted
-- in tasks. Whose turn it is, is a matter of all; on which of the own jobs it is spent, of the owner's priorities alone: a
-- job's priority among all can be lower than that among its owner's. A job's turn is the number of tasks its owner has asked for before it, on a clock that all owners of a priority
-- share: it shows the turn of the job that was served last, and whoever comes new begins there. So a thousand jobs of one
-- owner stand behind one another, and the next one of somebody else stands beside the first of them. A job's turn moves on
-- with each task given out: a large job does not keep small ones waiting either.
--
-- Each owner has a line too: the same jobs, by the own priorities, for workers that run the owner's jobs first or alone.
--
--   turns  hash  <priority> -> the clock;  <priority> <owner> -> where the next job of this owner begins
-- needs: call, keys, news

local function leave_line(job)
  redis.call('ZREM', P .. 'ready', job)
  redis.call('ZREM', key('ready', job_field(job, 'owner')), job)
  redis.call('ZREM', P .. 'delayed', job)
end

local function clock(priority)
  return tonumber(redis.call('HGET', P .. 'turns', priority) or 0)
end

-- Its priority among all and among its owner's jobs. One from before these were told apart has one.
local function standing(job)
  local f = redis.call('HMGET', key('job', job), 'among_all', 'priority', 'owner', 'turn')
  return {priority = tonumber(f[1] or f[2]), own = tonumber(f[2]), owner = f[3], turn = tonumber(f[4])}
end

-- Both fit exactly into a double.
local function stand_in_line(job, turn)
  local s = standing(job)
  redis.call('HSET', key('job', job), 'turn', turn)
  redis.call('ZADD', P .. 'ready', string.format('%.0f', turn - s.priority * 1e13), job)
  redis.call('ZADD', key('ready', s.owner), string.format('%.0f', turn - s.own * 1e13), job)
end

local function join_line(job, tasks)
  local s = standing(job)
  local mine = s.priority .. ' ' .. s.owner
  local turn = math.max(clock(s.priority), tonumber(redis.call('HGET', P .. 'turns', mine) or 0))
  redis.call('HSET', P .. 'turns', mine, turn + tasks)
  stand_in_line(job, turn)
end

local function move_on(job, tasks)
  local s = standing(job)
  if s.turn > clock(s.priority) then redis.call('HSET', P .. 'turns', s.priority, s.turn) end
  stand_in_line(job, s.turn + tasks)
end

-- The jobs of the same owner that go before this one among the own ones, and no sooner than it among all; it comes last.
local function instead_of(job, most)
  local s, out = standing(job), {}
  for _, other in ipairs(redis.call('ZRANGE', key('ready', s.owner), 0, most - 1)) do
    local its = standing(other)
    if its.own <= s.own then break end
    if its.priority == s.priority then table.insert(out, other) end
  end
  table.insert(out, job)
  return out
end

local function trade_turns(job, other)
  if job == other then return end
  local its, theirs = standing(job).turn, standing(other).turn
  stand_in_line(job, theirs)
  stand_in_line(other, its)
end

-- Tasks that the owner's own worker runs, or nobody after all, are not counted against their owner.
local function uncount(job, tasks)
  local s = standing(job)
  local mine = s.priority .. ' ' .. s.owner
  if redis.call('HEXISTS', P .. 'turns', mine) == 1 then
    redis.call('HINCRBY', P .. 'turns', mine, 0 - tasks)  -- -0 is no number to Redis
  end
end

local function give_up_turns(job)
  uncount(job, redis.call('ZCARD', key('job', job, 'open')))
end

-- Whether a living job stands in line follows from its open tasks alone. One that comes back goes to the front:
-- it had its turn.
local function place(job)
  local status, open = job_field(job, 'status'), key('job', job, 'open')
  local first = redis.call('ZRANGE', open, 0, 0, 'WITHSCORES')
  if #first == 0 or (status ~= 'queued' and status ~= 'started') then
    leave_line(job)
  elseif tonumber(first[2]) <= now then
    if not redis.call('ZSCORE', P .. 'ready', job) then
      local s = standing(job)
      stand_in_line(job, math.min(s.turn, clock(s.priority)))
    end
    redis.call('ZREM', P .. 'delayed', job)
    announce_work(redis.call('ZCARD', open))
  else
    leave_line(job)
    redis.call('ZADD', P .. 'delayed', first[2], job)
  end
end
