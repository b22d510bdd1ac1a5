-- View: a job hash as a reader sees it, whole or without its payload, as a flat list of fields and values.
-- A hash without `id` is a stub that a late writer left behind; it and a key of another type are no jobs.
local View = {}

-- What is read instead of everything when the payload (data, returnvalue, vectors) is not wanted.
local METADATA = {
  "id",
  "name",
  "opts",
  "timestamp",
  "attemptsMade",
  "state",
  "delay",
  "priority",
  "maxAttempts",
  "processedOn",
  "finishedOn",
  "failedReason",
  "parentId",
  "parentQueue",
  "parentIds",
  "parentQueues",
  "orderingKey",
  "orderingSeq",
  "groupKey",
  "cost",
  "expireAt",
  "progress",
  "revoked",
  "lastActive",
  "stalledCount",
  "fallbackIndex",
  "lifo",
  "schedulerName",
  "budgetKey",
  "suspendReason",
  "suspendedAt",
  "suspendTimeout",
  "signals",
  "tpmTokens",
  "usage:model",
  "usage:provider",
  "usage:tokens",
  "usage:totalTokens",
  "usage:costs",
  "usage:totalCost",
  "usage:costUnit",
  "usage:latencyMs",
  "usage:cached",
  "x-py:started",
}

local function read_all(key)
  local flat = redis.pcall("HGETALL", key)
  for index = 1, #flat, 2 do
    if flat[index] == "id" then
      return flat
    end
  end
  return nil
end

local function read_metadata(key)
  local values = redis.pcall("HMGET", key, unpack(METADATA))
  if not values[1] then
    return nil
  end
  local flat = {}
  for index, name in ipairs(METADATA) do
    if values[index] then
      flat[#flat + 1] = name
      flat[#flat + 1] = values[index]
    end
  end
  return flat
end

-- {field, value, ...}, or nil when there is no such job.
function View.read(keys, id, exclude_data)
  local key = keys.job .. id
  if exclude_data then
    return read_metadata(key)
  end
  return read_all(key)
end

function View.exists(keys, id)
  return redis.pcall("HEXISTS", keys.job .. id, "id") == 1
end

-- The bytes of all names and values together.
function View.size(flat)
  local bytes = 0
  for index = 1, #flat do
    bytes = bytes + #flat[index]
  end
  return bytes
end

local PAGE_JOBS = 100
local PAGE_BYTES = 1048576

-- The jobs of one reply, as a list, and the function that adds one by its id: it answers true when the page is full.
function View.page(keys, exclude_data)
  local jobs, bytes = {}, 0
  return jobs, function(id)
    local flat = View.read(keys, id, exclude_data)
    if flat then
      jobs[#jobs + 1] = flat
      bytes = bytes + View.size(flat)
    end
    return #jobs >= PAGE_JOBS or bytes >= PAGE_BYTES
  end
end
