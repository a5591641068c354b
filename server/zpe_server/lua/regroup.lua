-- Changes who is in a group of researchers. A group that has lost its last member is gone.
-- a: group, add [owners], remove [owners]    Returns {members [owners]}.
-- needs: call, keys, news

for _, owner in ipairs(a.add) do
  redis.call('SADD', key('group', a.group), owner)
  redis.call('SADD', key('groups', owner), a.group)
end
for _, owner in ipairs(a.remove) do
  redis.call('SREM', key('group', a.group), owner)
  redis.call('SREM', key('groups', owner), a.group)
end
local members = redis.call('SMEMBERS', key('group', a.group))
redis.call(#members > 0 and 'SADD' or 'SREM', P .. 'groups', a.group)
-- Workers may take other jobs now.
announce_work(1000000)
return cjson.encode({members = members})
