-- Delayed: jobs with a due time, and prioritized jobs until there is a slot for them, in one sorted set.
-- Score = priority class x 2^42 + due time in ms; a prioritized job without delay is due at 0.
local Delayed = {}

local SHIFT = 4398046511104
local WINDOW = 200

function Delayed.score(priority, due)
  return priority * SHIFT + due
end

-- Whether a due time leaves the class of its score alone; it does until the year 2109.
function Delayed.fits(due)
  return due >= 0 and due < SHIFT
end

-- The priority class of a score, and its due time.
function Delayed.split(score)
  local class = math.floor(score / SHIFT)
  return class, score - class * SHIFT
end

function Delayed.add(keys, id, priority, due)
  redis.call("ZADD", keys.scheduled, Delayed.score(priority, due), id)
end

-- The first member at or after a score: id, class, due; or nil.
function Delayed.head(keys, score)
  local head = redis.call("ZRANGE", keys.scheduled, score, "+inf", "BYSCORE", "LIMIT", 0, 1, "WITHSCORES")
  if not head[1] then
    return nil
  end
  return head[1], Delayed.split(tonumber(head[2]))
end

local function in_order(a, b)
  if a.score ~= b.score then
    return a.score < b.score
  elseif a.number ~= b.number then
    return a.number < b.number
  end
  return a.id < b.id
end

-- Due members of a class, earliest first, at most `limit`. All jobs of one priority share a score, and the server
-- then orders by text ("10" before "2"): a window is read and put in the order in which ids were issued.
function Delayed.due(keys, class, now, limit)
  local first = class * SHIFT
  local window = math.max(limit, WINDOW)
  local found =
    redis.call("ZRANGE", keys.scheduled, first, first + now, "BYSCORE", "LIMIT", 0, window, "WITHSCORES")
  local members = {}
  for index = 1, #found, 2 do
    local id = found[index]
    members[#members + 1] = { id = id, score = tonumber(found[index + 1]), number = tonumber(id) or math.huge }
  end
  table.sort(members, in_order)
  local ids = {}
  for index = 1, math.min(limit, #members) do
    ids[index] = members[index].id
  end
  return ids
end

-- Whether a class has a due member.
function Delayed.is_due(keys, class, now)
  local first = class * SHIFT
  return redis.call("ZRANGE", keys.scheduled, first, first + now, "BYSCORE", "LIMIT", 0, 1)[1] ~= nil
end

-- The due time of a class's first member after `now`, or nil.
function Delayed.next_in_class(keys, class, now)
  local _, head_class, due = Delayed.head(keys, class * SHIFT + now + 1)
  return head_class == class and due or nil
end

-- Where to look for the class after this one.
function Delayed.after_class(class)
  return (class + 1) * SHIFT
end

-- The number of jobs with a priority.
function Delayed.prioritized(keys)
  return redis.call("ZCOUNT", keys.scheduled, SHIFT, "+inf")
end
