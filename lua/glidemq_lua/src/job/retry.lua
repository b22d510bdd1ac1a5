-- Retry: what follows a failed run - another try after a delay, or the end.
local Retry = {}

-- `max_attempts` counts all runs; 0 and 1 both mean a single one.
function Retry.is_left(max_attempts, attempts_made)
  return max_attempts > 0 and attempts_made < max_attempts
end

local function follows(entry, names)
  local kinds = type(entry) == "table" and entry["x-py:on"]
  if type(kinds) ~= "table" then
    return true
  end
  for _, kind in ipairs(kinds) do
    for _, name in ipairs(names) do
      if kind == name then
        return true
      end
    end
  end
  return false
end

-- The place of the chain's next entry that follows an error whose classes have these names; nil: the job stays where
-- it is.
local function next_fallback(opts, index, names)
  local ok, decoded = pcall(cjson.decode, opts)
  local chain = ok and type(decoded) == "table" and type(decoded.fallbacks) == "table" and decoded.fallbacks or {}
  for place = index + 1, #chain do
    if follows(chain[place], names) then
      return place
    end
  end
  return nil
end

-- Jobs with a fallback chain move on in it with every retry. `names` are those of the error's classes, false when the
-- chain does not ask for them.
function Retry.move_on(job, opts, names)
  if not opts or not string.find(opts, '"fallbacks"', 1, true) then
    return
  elseif not names then
    redis.call("HINCRBY", job, "fallbackIndex", 1)
    return
  end
  local index = tonumber(redis.call("HGET", job, "fallbackIndex")) or 0
  local place = next_fallback(opts, index, names)
  if place then
    redis.call("HSET", job, "fallbackIndex", place)
  end
end
