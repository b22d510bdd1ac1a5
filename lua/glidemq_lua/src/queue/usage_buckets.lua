-- UsageBuckets: what the jobs of a queue have used, by the minute of their reports, kept for 30 days.
local UsageBuckets = {}

UsageBuckets.MINUTE = 60000

local KEPT_S = 2592000

local function add_to(changes, name, value)
  changes[name] = (changes[name] or 0) + value
end

-- field -> change; `sign` is 1 or -1.
local function collect(changes, contribution, sign)
  add_to(changes, "jobCount", sign * contribution.jobCount)
  add_to(changes, "totalTokens", sign * contribution.totalTokens)
  add_to(changes, "totalCost", sign * contribution.totalCost)
  for category, value in pairs(contribution.tokens) do
    add_to(changes, "tokens:" .. category, sign * value)
  end
  for category, value in pairs(contribution.costs) do
    add_to(changes, "costs:" .. category, sign * value)
  end
  if contribution.model then
    add_to(changes, "models:" .. contribution.model, sign)
  end
end

local function apply(bucket, changes)
  for field, change in pairs(changes) do
    if change ~= 0 then
      redis.call("HINCRBYFLOAT", bucket, field, JsonValue.number(change))
    end
  end
end

-- Adds what a run has used to the bucket of `minute`, in place of what it reported before (nil: nothing), in
-- `old_minute`. Returns whether the bucket is new.
function UsageBuckets.replace(keys, replaced, old_minute, added, minute)
  local bucket = keys.usage .. JsonValue.number(minute)
  local is_new = redis.call("EXISTS", bucket) == 0
  local changes = {}
  if replaced and old_minute == minute then
    collect(changes, replaced, -1)
  elseif replaced and old_minute then
    local old_bucket = keys.usage .. JsonValue.number(old_minute)
    if redis.call("EXISTS", old_bucket) == 1 then -- else it has expired
      local withdrawn = {}
      collect(withdrawn, replaced, -1)
      apply(old_bucket, withdrawn)
    end
  end
  collect(changes, added, 1)
  apply(bucket, changes)
  redis.call("HSETNX", bucket, "jobCount", "0")
  if added.costUnit then
    redis.call("HSET", bucket, "costUnit", added.costUnit)
  end
  redis.call("EXPIRE", bucket, KEPT_S)
  return is_new
end

-- Sums up the buckets of the minutes first..last: {field, value, ...}, the values as texts; costUnit is the latest.
function UsageBuckets.read(keys, first, last)
  local sums, cost_unit = {}, nil
  for minute = first, last, UsageBuckets.MINUTE do
    local flat = redis.pcall("HGETALL", keys.usage .. JsonValue.number(minute))
    for index = 1, #flat, 2 do
      local field, value = flat[index], flat[index + 1]
      if field == "costUnit" then
        cost_unit = value
      elseif tonumber(value) then
        sums[field] = (sums[field] or 0) + tonumber(value)
      end
    end
  end
  local totals = {}
  for field, value in pairs(sums) do
    totals[#totals + 1] = field
    totals[#totals + 1] = JsonValue.number(value)
  end
  if cost_unit then
    totals[#totals + 1] = "costUnit"
    totals[#totals + 1] = cost_unit
  end
  return totals
end
