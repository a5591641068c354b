-- Lists the tokens of a kind that are in force, newest first.
-- a: kind ('enroll' | 'token')    Returns {tokens [{token (hash), fields ...}]}.
-- needs: call, keys

local out = {}
for _, hash in ipairs(redis.call('ZREVRANGE', P .. a.kind .. 's', 0, -1)) do
  local record = redis.call('HGETALL', key(a.kind, hash))
  if #record == 0 then
    redis.call('ZREM', P .. a.kind .. 's', hash)
  else
    local entry = {token = hash}
    for i = 1, #record, 2 do entry[record[i]] = record[i + 1] end
    table.insert(out, entry)
  end
end
return cjson.encode({tokens = out})
