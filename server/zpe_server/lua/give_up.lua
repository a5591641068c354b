-- Fails jobs that wait for work nobody will do.
-- a: error {side, code, message, ..}, limit    Returns {failed (count)}.
-- needs: call, ends, history, keys

local failed = 0
for _, line in ipairs({'ready', 'delayed'}) do
  for _, job in ipairs(redis.call('ZRANGE', P .. line, 0, a.limit - 1)) do
    remember(job, {what = 'failed', class = 'config', code = a.error.code, message = a.error.message})
    fail_job(job, a.error, a.error.message)
    failed = failed + 1
  end
end
return cjson.encode({failed = failed})
