-- Vectors: embeddings of jobs, each job's in a hash of its own, `P:vec:<id>`, which a search index covers. The job's
-- hash stays text: a reader of another library could not even decode it otherwise.
-- The hash of vectors also holds copies of the job's fields that filters ask for. They follow the job: at the end of
-- each call that has changed jobs, and by samples where other libraries change or delete jobs.
local Vectors = {}

-- Copied fields. An empty text is none: an index of numbers would refuse the whole hash for it.
local COPIED = {
  "name", "state", "timestamp", "priority", "attemptsMade", "processedOn", "finishedOn", "groupKey", "schedulerName",
}

-- A sample of the queue's vectors, and how often one is looked at.
local SAMPLE = 50
local SAMPLE_EVERY_MS = 1000

-- Brings the copies up to date; `fields` {name, value, ...} are written with them. Returns false, having written nothing,
-- when there is no such job. A module indexes a hash anew, vectors and all, with every command that writes to it: one
-- writes all that has changed, and none is sent when nothing has.
local function copy(keys, id, fields)
  local values = redis.pcall("HMGET", keys.job .. id, "id", unpack(COPIED))
  if values.err or not values[1] then
    return false
  end
  local copies = redis.call("HMGET", keys.vec .. id, unpack(COPIED))
  local gone = {}
  for index = 1, #COPIED do
    local value = values[index + 1]
    if value == "" then
      value = false
    end
    if not value and copies[index] then
      gone[#gone + 1] = COPIED[index]
    elseif value ~= copies[index] then
      fields[#fields + 1] = COPIED[index]
      fields[#fields + 1] = value
    end
  end
  if #fields > 0 then
    redis.call("HSET", keys.vec .. id, unpack(fields))
  end
  if #gone > 0 then
    redis.call("HDEL", keys.vec .. id, unpack(gone))
  end
  return true
end

-- `fields` is {name, value, ...}: vectors as float32 in little-endian order, and attributes for filters.
function Vectors.store(keys, id, fields)
  if copy(keys, id, fields) then
    redis.call("ZADD", keys.vectors, 0, id)
  end
end

-- The jobs are gone; their keys go with the others of theirs.
function Vectors.forget(keys, ...)
  redis.call("ZREM", keys.vectors, ...)
end

function Vectors.follow(keys)
  if redis.call("EXISTS", keys.vectors) == 0 then
    return
  end
  for _, id in ipairs(keys.changed) do
    if redis.call("EXISTS", keys.vec .. id) == 1 then
      copy(keys, id, {})
    end
  end
end

Library.after_changes = Vectors.follow

-- What others have done to jobs with vectors is found out by and by.
function Vectors.look_around(keys)
  if redis.call("EXISTS", keys.vectors) == 0
    or not redis.call("SET", keys.vectors_look, "1", "NX", "PX", SAMPLE_EVERY_MS) then
    return
  end
  for _, id in ipairs(redis.call("ZRANDMEMBER", keys.vectors, SAMPLE)) do
    if not copy(keys, id, {}) then
      redis.call("UNLINK", keys.vec .. id)
      redis.call("ZREM", keys.vectors, id)
    end
  end
end
