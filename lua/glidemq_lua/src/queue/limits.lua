-- Limits: what the queue's settings allow - pause, the number of jobs that may be in hand at once, and how many may
-- start per window.
local Limits = {}

local function positive(text)
  local number = tonumber(text)
  return number and number > 0 and number or nil
end

-- {max, duration_ms}, or nil unless both are above 0.
local function rate_of(max, duration_ms)
  max, duration_ms = positive(max), positive(duration_ms)
  return max and duration_ms and { max = max, duration_ms = duration_ms }
end

-- paused (boolean), global concurrency (number, or nil when unlimited), global rate ({max, duration_ms} or nil)
function Limits.read(keys)
  local meta =
    redis.call("HMGET", keys.meta, "paused", "globalConcurrency", "rateLimitMax", "rateLimitDuration")
  return meta[1] == "1", positive(meta[2]), rate_of(meta[3], meta[4])
end

-- The fault of a rate limit that a caller gives, or nil; it may be absent.
function Limits.fault(limiter)
  if limiter and not rate_of(limiter.max, limiter.duration_ms) then
    return "max and duration_ms must both be above 0"
  end
  return nil
end

-- Where both the queue and the worker limit the rate, the stricter limit counts.
function Limits.rate(keys, limiter)
  local _, _, global_rate = Limits.read(keys)
  return Rate.stricter(global_rate, limiter or nil)
end

-- Free places under a global concurrency: pending stream entries and list-sourced active jobs are in hand, entries
-- given back are not. `unstarted` pending entries belong to the caller and are about to be decided on.
function Limits.free(keys, concurrency, unstarted)
  local pending, returned = Ready.pending(keys)
  local from_lists = math.max(tonumber(redis.call("GET", keys.list_active)) or 0, 0)
  return math.max(concurrency - (pending - returned - unstarted) - from_lists, 0)
end
