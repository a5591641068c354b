-- The beginning of a job's stage: what is known of it from earlier jobs is taken over, the rest stands in line.
-- needs: call, ends, keys, line, news, physics, scfs, shown, status, versions

-- Earlier SCFs may be of several physics (another pw.x, other pseudopotential files). Those that cover most of the
-- job are of use, the others are not: they never mix. Among those that cover all of it, one that a worker would
-- compute today goes first.
local function best_covered(owner, stage, pinned)
  local by_physics, best, best_rank = {}, nil, nil
  local needs = cjson.decode(stage.fields.needs or '{}')
  local function may_serve(physics)
    if pinned then return physics == pinned end
    return has_version(cjson.decode(physics).engine_version or '', needs)
  end
  for i, scf in ipairs(stage.reuse and stage.scf_keys or {}) do
    for _, field in ipairs(scf ~= '' and redis.call('HKEYS', key('scf', owner, scf)) or {}) do
      if string.sub(field, 1, 7) == 'report ' then
        local physics = string.sub(field, 8)
        if may_serve(physics) then
          by_physics[physics] = by_physics[physics] or {}
          table.insert(by_physics[physics], i - 1)
        end
      end
    end
  end
  for physics, tasks in pairs(by_physics) do
    local rank = #tasks
    if rank == stage.total and is_shown(redis.call('HGET', key('scf', owner, stage.scf_keys[1]), 'setup ' .. physics), stage.alive_ms) then
      rank = rank + 1
    end
    if not best or rank > best_rank or (rank == best_rank and physics < best) then
      best, best_rank = physics, rank
    end
  end
  return best, best and by_physics[best] or {}, best ~= nil and best_rank > stage.total
end

-- Writes down what a stage consists of and opens its tasks; returns whether nothing is left to compute.
-- stage: {total, full, fields, scf_keys [by task; '' where none is to be taken over], copies [tasks that the last ones
--   are copies of], reuse (take over what earlier jobs of the owner have computed), keep_ms, alive_ms (whoever was heard
--   of so long ago counts as a worker)}
local function begin_stage(job, owner, stage, payload, plan, task_table)
  local record = key('job', job)
  redis.call('HSET', record, 'total', stage.total, 'full', stage.full, 'reused', 0,
    'payload', payload, 'plan', plan, 'tasks', task_table)
  for field, value in pairs(stage.fields) do
    redis.call('HSET', record, field, value)
  end
  for _, scf in ipairs(stage.scf_keys) do
    redis.call('RPUSH', key('job', job, 'scf'), scf)
  end

  for n, original in ipairs(stage.copies) do
    local copy = stage.total - #stage.copies + n - 1
    redis.call('HSET', key('job', job, 'twins'), copy, original, original, copy)
  end

  local pinned = job_field(job, 'fingerprint')
  local physics, covered, complete = best_covered(owner, stage, pinned)
  if pinned then
    complete = #covered == stage.total
  elseif not complete and #covered == stage.total then
    -- Forces depend on files that are not in the request. As long as nobody has computed with those of the earlier
    -- SCFs, one SCF is run again, and its fingerprint tells.
    table.remove(covered, 1)
  end
  if complete and not pinned then pin(job, physics) end
  for _, task in ipairs(covered) do
    if complete or pinned then
      reuse(job, owner, task, physics, stage.keep_ms)
    else
      -- Whether a worker with the same physics will come is not known yet: its first result tells.
      redis.call('SADD', key('job', job, 'reserved'), task)
    end
  end
  if complete then
    redis.call('HSETNX', record, 'started', now)
    to_assembly(job)
    set_status(job, 'started', 'all SCFs are known from earlier jobs; ' .. what_remains(job))
  else
    for task = 0, stage.total - 1 do
      if redis.call('SISMEMBER', key('job', job, 'reserved'), task) == 0
          and redis.call('HEXISTS', key('job', job, 'reports'), task) == 0 then
        redis.call('ZADD', key('job', job, 'open'), task, task)
      end
    end
    set_status(job, 'queued')
    join_line(job, stage.total - #covered)
    announce_work(stage.total - #covered)
  end
  return complete
end
