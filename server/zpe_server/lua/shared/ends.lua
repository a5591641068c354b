-- How the work on a job ends: with all its SCFs, without them, or for good.
-- needs: call, keys, leases, limits, line, status

-- All that the result needs is there; it remains to be made and stored.
local function to_assembly(job)
  redis.call('DEL', key('job', job, 'open'))
  leave_line(job)
  redis.call('ZREM', P .. 'dlq', job)
  redis.call('ZADD', P .. 'assemble', now, job)
end

local NEXT = {relax = 'looking at where the relaxation has ended', energy = 'storing the result'}

-- What remains to be done of a job, or of its stage, whose tasks are all done.
local function what_remains(job)
  return NEXT[job_field(job, 'stage')] or 'computing the frequencies'
end

-- Nobody is to work on a job any more.
local function withdraw(job)
  give_up_turns(job)
  release_all_leases(job, 'cancelled')
  leave_line(job)
  redis.call('ZREM', P .. 'assemble', job)
  let_run_more(job_field(job, 'owner'))
end

-- All that only a job which may still be worked on needs.
local function drop_tasks(job)
  redis.call('DEL', key('job', job, 'open'), key('job', job, 'reports'), key('job', job, 'attempts'),
    key('job', job, 'reserved'), key('job', job, 'settled'), key('job', job, 'starts'), key('job', job, 'dropped'),
    key('job', job, 'steps'), key('job', job, 'course'), key('job', job, 'relaxed_by'))
end

local function fail_job(job, error, detail)
  withdraw(job)
  redis.call('HSET', key('job', job), 'error', cjson.encode(error), 'finished', now)
  redis.call('ZADD', P .. 'dlq', now, job)
  set_status(job, 'failed', detail)
end
