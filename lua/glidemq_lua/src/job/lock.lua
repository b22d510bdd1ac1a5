-- Lock: how long a job may give no sign of life until it counts as lost with its host.
-- A queue remembers the shortest lock that a running job of it has of its own, so that every host looks for the dead
-- often enough: one that never saw the job would notice too late.
local Lock = {}

local SHORTEST, LONGEST = 1000, 86400000

-- How long it is remembered beyond the lock itself; running jobs renew it with their heartbeats.
local REMEMBERED_MS = 60000

Lock.SHORTEST = SHORTEST

-- The lock in a job's options, or nil if it has none of its own that is valid.
function Lock.of_options(opts)
  if not opts or not string.find(opts, '"lockDuration"', 1, true) then
    return nil
  end
  local ok, decoded = pcall(cjson.decode, opts)
  local own = ok and type(decoded) == "table" and tonumber(decoded.lockDuration)
  return own and own >= SHORTEST and own <= LONGEST and own or nil
end

-- A job with this lock runs.
function Lock.remember(keys, lock_ms)
  local known = Lock.shortest(keys)
  if known < 0 or lock_ms <= known then
    redis.call("SET", keys.short_lock, lock_ms, "PX", lock_ms + REMEMBERED_MS)
  end
end

-- In ms, or -1 if no running job has a lock of its own, for all that is known.
function Lock.shortest(keys)
  return tonumber(redis.call("GET", keys.short_lock)) or -1
end

-- The shorter of two locks, either of which may be -1 for none.
function Lock.shorter(a, b)
  if a < 0 or b < 0 then
    return math.max(a, b)
  end
  return math.min(a, b)
end
