-- Marks a job finished once its result is stored. The first caller wins; the others change nothing.
-- a: job, bytes (of the result), retire_ms, generation (of what the result was made from; other forces have taken its place if it is past),
--    zpe_ev (of the result; '' if it has none)
-- Returns {finished}.
-- needs: call, keys, limits, retention, status

if a.generation ~= (job_field(a.job, 'generation') or '0') then return cjson.encode({finished = false}) end
if redis.call('ZREM', P .. 'assemble', a.job) == 0 then return cjson.encode({finished = false}) end
redis.call('HSET', key('job', a.job), 'finished', now)
if a.zpe_ev ~= '' then redis.call('HSET', key('job', a.job), 'zpe_ev', a.zpe_ev) end
redis.call('HDEL', key('job', a.job), 'error')
retain(a.job, a.retire_ms)
count_bytes(a.job, job_field(a.job, 'owner'), a.bytes)
set_status(a.job, 'finished')
-- How many finished in each minute of the last day, for whoever asks how it went.
local minute = math.floor(now / 60000)
if redis.call('HINCRBY', P .. 'finished', minute, 1) == 1 then
  for _, earlier in ipairs(redis.call('HKEYS', P .. 'finished')) do
    if tonumber(earlier) <= minute - 24 * 60 then redis.call('HDEL', P .. 'finished', earlier) end
  end
end
-- The result holds all that is worth keeping of these.
redis.call('DEL', key('job', a.job, 'reports'), key('job', a.job, 'attempts'), key('job', a.job, 'avoid'),
  key('job', a.job, 'settled'), key('job', a.job, 'starts'), key('job', a.job, 'dropped'),
  key('job', a.job, 'steps'), key('job', a.job, 'course'))
return cjson.encode({finished = true})
