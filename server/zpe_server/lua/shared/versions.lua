-- Versions of pw.x, and which of them can run a job.

-- Compares two versions, such as 6.7MaX or 7.3.1: below 0 if the first is older, above 0 if it is newer.
local function compare_versions(one, other)
  local rest = string.gmatch(other, '%d+')
  for n in string.gmatch(string.match(one, '^[%d.]*'), '%d+') do
    local difference = n - (rest() or 0)
    if difference ~= 0 then return difference end
  end
  for n in rest do
    if tonumber(n) > 0 then return -n end
  end
  return 0
end

local HOLDS = {
  ['>='] = function(d) return d >= 0 end,
  ['>'] = function(d) return d > 0 end,
  ['<='] = function(d) return d <= 0 end,
  ['<'] = function(d) return d < 0 end,
  ['=='] = function(d) return d == 0 end,
}

-- Whether a version of pw.x is one that a job needs. One that tells no number may be any.
local function has_version(version, needs)
  if not string.match(version, '^%d') then return true end
  for _, need in ipairs(needs.versions or {}) do
    for comparison, wanted in string.gmatch(need.condition, '([<>=]+)%s*([%d.]+)') do
      if not HOLDS[comparison](compare_versions(version, wanted)) then return false end
    end
  end
  return true
end
