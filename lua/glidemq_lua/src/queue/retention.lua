-- Retention: removal of finished jobs, with everything that belongs to them.
-- A policy is false (keep), true (remove at once), a count, or {age_s or false, count or false}.
local Retention = {}

local REMOVED_AT_ONCE = 1000
local CHUNK = 500 -- jobs per UNLINK: seven keys each, and unpack stops at 7,999 values

local function unlink(keys, ids, outputs_linger)
  local doomed, size, first = {}, 0, 1
  for number = 1, #ids do
    doomed[size + 1], doomed[size + 2], doomed[size + 3], doomed[size + 4], doomed[size + 5], doomed[size + 6],
      doomed[size + 7] = Keys.of_job(keys, ids[number])
    if outputs_linger and JobStreams.linger(keys, ids[number]) then
      doomed[size + 3] = doomed[size + 1]
    end
    size = size + 7
    if number % CHUNK == 0 or number == #ids then
      redis.call("UNLINK", unpack(doomed, 1, size))
      Vectors.forget(keys, unpack(ids, first, number))
      size, first = 0, number + 1
    end
  end
end

-- Somebody wants these jobs gone.
function Retention.unlink(keys, ids)
  unlink(keys, ids, false)
end

-- These jobs go because they have ended: who reads their output just then may read it to its end.
function Retention.retire(keys, ids)
  unlink(keys, ids, JobStreams.are_written(keys))
end

local function remove(keys, set, ids)
  if #ids > 0 then
    Retention.retire(keys, ids)
    redis.call("ZREM", set, unpack(ids))
  end
end

-- Applies a count or an age-and-count policy to a finished set; a call removes at most a thousand of each kind.
function Retention.apply(keys, set, policy, now)
  local age, count = false, policy
  if type(policy) == "table" then
    age, count = policy[1], policy[2]
  end
  if age and age > 0 then
    local oldest = now - age * 1000
    remove(keys, set, redis.call("ZRANGE", set, "-inf", oldest, "BYSCORE", "LIMIT", 0, REMOVED_AT_ONCE))
  end
  if count and count > 0 then
    local surplus = redis.call("ZCARD", set) - count
    if surplus > 0 then
      remove(keys, set, redis.call("ZRANGE", set, 0, math.min(surplus, REMOVED_AT_ONCE) - 1))
    end
  end
end

-- The policy in a job's own options, for failures that no worker reports. Unreadable options keep the job.
function Retention.of_options(opts, name)
  local ok, decoded = pcall(cjson.decode, opts or "")
  local policy = ok and type(decoded) == "table" and decoded[name]
  if policy == true or (type(policy) == "number" and policy > 0) then
    return policy
  end
  if type(policy) == "table" then
    return { tonumber(policy.age) or false, tonumber(policy.count) or false }
  end
  return false
end
