-- Notes that workers were heard of, whose questions needed no answer from here.  a: workers [ids]    Returns {}.
-- needs: call, workers

for _, worker in ipairs(a.workers) do
  if not is_revoked(worker) then seen(worker) end
end
return '{}'
