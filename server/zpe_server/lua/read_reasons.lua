-- Says why jobs have failed.    a: jobs [ids]    Returns {reasons [[side, code] or false]} in the same order.
-- needs: call, keys

local out = {}
for i, job in ipairs(a.jobs) do
  local text = job_field(job, 'error')
  local error = text and cjson.decode(text)
  out[i] = error and {error.side, error.code} or false
end
return cjson.encode({reasons = out})
