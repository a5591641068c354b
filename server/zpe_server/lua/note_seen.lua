-- Notes that workers were heard of, whose questions needed no answer from here. One may have said goodbye since.
-- a: workers [ids], memory_free_gb {id = of those that told it}    Returns {}.
-- needs: call, keys, workers

for _, worker in ipairs(a.workers) do
  if redis.call('ZSCORE', P .. 'present', worker) and not is_revoked(worker) then
    seen(worker)
    local free = a.memory_free_gb[worker]
    if free then redis.call('HSET', key('worker', worker), 'memory_free_gb', free) end
  end
end
return '{}'
