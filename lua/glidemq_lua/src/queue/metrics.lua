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

local function read_all(key)
  local counts, durations = {}, {}
  local flat = redis.call("HGETALL", key)
  for index = 1, #flat, 2 do
    local minute, kind = string.match(flat[index], "^m:(%d+):([cd])$")
    if minute then
      local values = kind == "c" and counts or durations
      values[tonumber(minute)] = tonumber(flat[index + 1])
    end
  end
  return counts, durations
end

local function read_day(key, first, last)
  local fields = {}
  for minute = first, last, MINUTE do
    fields[#fields + 1] = "m:" .. minute .. ":c"
    fields[#fields + 1] = "m:" .. minute .. ":d"
  end
  local values = redis.call("HMGET", key, unpack(fields))
  local counts, durations = {}, {}
  for index = 1, #fields, 2 do
    local minute = first + (index - 1) / 2 * MINUTE
    counts[minute], durations[minute] = tonumber(values[index]), tonumber(values[index + 1])
  end
  return counts, durations
end

-- The minutes with finished jobs: {{minute_ms, count, duration_ms}, ...}
function Metrics.of_last_day(key, now)
  local last = now - now % MINUTE
  local first = last - DAY + MINUTE
  -- Node prunes seldom: what is left over from idle days is not read.
  local many = redis.call("HLEN", key) > 2 * FIELDS_OF_A_DAY
  local counts, durations
  if many then
    counts, durations = read_day(key, first, last)
  else
    counts, durations = read_all(key)
  end
  local minutes = {}
  for minute, count in pairs(counts) do
    if minute >= first then
      minutes[#minutes + 1] = { minute, count, durations[minute] or 0 }
    end
  end
  return minutes
end
