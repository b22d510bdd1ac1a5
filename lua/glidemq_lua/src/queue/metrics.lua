-- Metrics: per-minute counts (m:<minute>:c) and summed durations in ms (m:<minute>:d) of finished jobs.
local Metrics = {}

local MINUTE = 60000
local DAY = 86400000
-- A day has 1440 minutes of two fields each; beyond that something older is left over from idle times.
local FIELDS_OF_A_DAY = 2880
local PRUNE_SAMPLE = 200

local function prune(key, oldest)
  redis.call("HDEL", key, "m:" .. oldest .. ":c", "m:" .. oldest .. ":d")
  if redis.call("HLEN", key) <= FIELDS_OF_A_DAY + 2 then
    return
  end
  -- A random sample each new minute keeps the cost bounded and reaches every field in time.
  local stale = {}
  for _, field in ipairs(redis.call("HRANDFIELD", key, PRUNE_SAMPLE)) do
    local minute = tonumber(string.match(field, "^m:(%d+):[cd]$"))
    if minute and minute < oldest then
      stale[#stale + 1] = field
    end
  end
  if #stale > 0 then
    redis.call("HDEL", key, unpack(stale))
  end
end

-- Adds `count` jobs that finished at `now` and ran `duration_ms` together.
function Metrics.add(key, now, count, duration_ms)
  local minute = now - now % MINUTE
  if redis.call("HINCRBY", key, "m:" .. minute .. ":c", count) == count then
    prune(key, minute - DAY)
  end
  if duration_ms > 0 then
    redis.call("HINCRBY", key, "m:" .. minute .. ":d", duration_ms)
  end
end
