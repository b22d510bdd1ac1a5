-- Entries: finding the stream entry of a job. Nobody writes down where it is, so it is searched for, in slices.
local Entries = {}

local CHUNK = 500

-- The entry id up to which the group has delivered (what still stands before it is pending), or nil without group.
function Entries.last_delivered(keys)
  local groups = redis.pcall("XINFO", "GROUPS", keys.stream)
  for _, group in ipairs(groups.err and {} or groups) do
    local about = {}
    for index = 1, #group, 2 do
      about[group[index]] = group[index + 1]
    end
    if about.name == Ready.GROUP then
      return about["last-delivered-id"]
    end
  end
  return nil
end

-- Where a job that waits may stand, likeliest first. An entry is written at or after the add, so the search starts
-- a second before the job's timestamp (a producer's clock may be ahead) and then takes what lies before.
function Entries.ranges_of_waiting(timestamp)
  local added = tonumber(timestamp)
  if not added or added <= 1000 then
    return { { "-", "+" } }
  end
  local likely = string.format("%d-0", added - 1000)
  return { { likely, "+" }, { "-", "(" .. likely } }
end

-- Where a job in somebody's hands may stand.
function Entries.ranges_of_active(keys)
  local last = Entries.last_delivered(keys)
  return last and { { "-", last } } or {}
end

-- Looks at no more than `budget` entries of {{first, last}, ...}. Returns the job's entry id, if found, and the
-- ranges that were not looked at yet.
function Entries.search(keys, id, ranges, budget)
  local first, last = nil, nil
  for number, range in ipairs(ranges) do
    first, last = range[1], range[2]
    local size
    repeat
      if budget <= 0 then
        return nil, { { first, last }, unpack(ranges, number + 1) }
      end
      local entries = redis.call("XRANGE", keys.stream, first, last, "COUNT", CHUNK)
      size = #entries
      for _, entry in ipairs(entries) do
        if Ready.job_id(entry[2]) == id then
          return entry[1], {}
        end
      end
      if size > 0 then
        first = "(" .. entries[size][1]
      end
      budget = budget - CHUNK
    until size < CHUNK
  end
  return nil, {}
end
