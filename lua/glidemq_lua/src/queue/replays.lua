-- Replays: what became of dead letters that were tried again. `P:x-py:replayed` holds the jobs that replays have made
-- and that have not ended yet, by the time of the replay; `P:x-py:replays` counts how they ended.
local Replays = {}

local MOST = 10000 -- of the oldest unended ones it is not learned how they end
local CHUNK = 5000 -- unpack stops at 7,999

function Replays.note(keys, id, now)
  redis.call("ZADD", keys.replayed, now, id)
  redis.call("ZREMRANGEBYRANK", keys.replayed, 0, -MOST - 1)
  redis.call("HINCRBY", keys.replays, "made", 1)
end

local function count(keys, ids, field)
  local known = 0
  for first = 1, #ids, CHUNK do
    known = known + redis.call("ZREM", keys.replayed, unpack(ids, first, math.min(first + CHUNK - 1, #ids)))
  end
  if known > 0 then
    redis.call("HINCRBY", keys.replays, field, known)
  end
end

-- The ids of a finished set of a settlement.
local function ids_of(set)
  local ids = {}
  for index, id in ipairs(set.doomed) do
    ids[index] = id
  end
  for index = 2, #set.scored, 2 do
    ids[#ids + 1] = set.scored[index]
  end
  return ids
end

-- Jobs have ended. A queue without replays pays for one EXISTS.
function Replays.ended(keys, completed, failed)
  if completed.count + failed.count == 0 or redis.call("EXISTS", keys.replayed) == 0 then
    return
  end
  count(keys, ids_of(completed), "completed")
  count(keys, ids_of(failed), "failed")
end

-- {made, completed, failed, unended}
function Replays.counts(keys)
  local counts = redis.call("HMGET", keys.replays, "made", "completed", "failed")
  return {
    tonumber(counts[1]) or 0, tonumber(counts[2]) or 0, tonumber(counts[3]) or 0, redis.call("ZCARD", keys.replayed),
  }
end
