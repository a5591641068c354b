-- Reads some fields of many jobs.
-- a: jobs [ids], fields [names]    Returns {rows [[value or false]]} in the same order.
-- needs: call, keys

local out = {}
for i, job in ipairs(a.jobs) do
  out[i] = redis.call('HMGET', key('job', job), unpack(a.fields))
end
return cjson.encode({rows = out})
