-- Notes that workers were heard of, whose questions needed no answer from here. One may have said goodbye since.
-- a: workers [ids]    Returns {}.
-- needs: call, keys, workers

for _, worker in ipairs(a.workers) do
  if redis.call('ZSCORE', P .. 'present', worker) and not is_revoked(worker) then seen(worker) end
end
return '{}'
