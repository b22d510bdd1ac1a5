-- Letters: jobs of this queue that are dead letters of others. Their data is an envelope, as Node writes it:
-- {"originalQueue", "originalJobId", "data", "failedReason", "attemptsMade"}. Own fields of the hash say the same
-- without a look into that, and what an envelope has no room for:
--
--   x-py:deadLetterOf       the queue that the job failed in
--   x-py:failedReason       the start of the reason
--   x-py:error              the name of the exception
--   x-py:originalOpts       its options
--   x-py:originalData       its data as stored, if the envelope does not hold that
local Letters = {}

local REASON_BYTES = 200

-- The queue that the letter is from and the reason's start, or nil when it is none.
function Letters.origin(keys, id)
  local job = redis.pcall("HMGET", keys.job .. id, "x-py:deadLetterOf", "x-py:failedReason", "id")
  if job.err or not job[3] then
    return nil, nil
  elseif job[1] then
    return job[1], job[2] or ""
  end
  local members = JsonText.members(redis.call("HGET", keys.job .. id, "data") or "")
  if not members then
    return nil, nil
  end
  return JsonText.string(members.originalQueue), string.sub(JsonText.string(members.failedReason) or "", 1, REASON_BYTES)
end

-- What a replay needs of a letter: [id, name, queue, original id, data, opts or false, timestamp]; data is false when
-- there is none. nil when there is no such job; queue and original id are false when it is no letter.
function Letters.read(keys, id)
  local job = redis.pcall(
    "HMGET", keys.job .. id, "id", "name", "data", "x-py:originalData", "x-py:originalOpts", "timestamp"
  )
  if job.err or not job[1] then
    return nil
  end
  local members = JsonText.members(job[3] or "") or {}
  return {
    id, job[2] or "", JsonText.string(members.originalQueue) or false, JsonText.string(members.originalJobId) or false,
    job[4] or members.data or false, job[5], job[6] or "0",
  }
end

-- Adds the own fields. `letter` is {original data or false, opts, error, reason}.
function Letters.describe(keys, id, source, letter)
  redis.call(
    "HSET", keys.job .. id, "x-py:deadLetterOf", source, "x-py:failedReason", string.sub(letter[4], 1, REASON_BYTES),
    "x-py:originalOpts", letter[2]
  )
  if letter[3] ~= "" then
    redis.call("HSET", keys.job .. id, "x-py:error", letter[3])
  end
  if letter[1] then
    redis.call("HSET", keys.job .. id, "x-py:originalData", letter[1])
  end
end
