-- Reads what an owner has and may have.
-- a: owner, usual {priority, jobs, scfs, bytes} (what goes for all)    Returns {has {jobs, scfs, bytes}, may {priority, ...}}.
-- needs: call, limits

local out = {
  has = {jobs = jobs_in_line(a.owner), scfs = scfs_running(a.owner), bytes = bytes_kept(a.owner)},
  may = {},
}
for _, name in ipairs({'priority', 'jobs', 'scfs', 'bytes'}) do
  out.may[name] = limit_of(a.owner, name, a.usual[name])
end
return cjson.encode(out)
