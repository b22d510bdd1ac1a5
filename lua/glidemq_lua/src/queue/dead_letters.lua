-- DeadLetters: jobs that fail for good are noted for the dead letter queue, if `P:meta` names one - in the very call that
-- fails them. That queue may be in another slot, so a letter stands in an outbox, `P:x-py:dead-letters`, until it has
-- been carried over (take_dead_letters, add_dead_letters, clear_dead_letters).
--
-- A letter has the fields to, job, name, data, opts, reason, attempts, error, at. It holds the job's data, as retention
-- may remove the job in the same call. `attempts` is what Node writes: those made before the run that failed.
local DeadLetters = {}

local QUEUE, MAX_RETRIES = "deadLetterQueueName", "x-py:deadLetterMaxRetries"
DeadLetters.LOST = "x-py:deadLettersLost"

-- Letters that the outbox holds while nobody can carry them over; beyond that the oldest are lost, and counted.
DeadLetters.MOST = 100000

-- A carrier's letters go on within this time after it read them, or not at all: others may have carried them since.
DeadLetters.PATIENCE_MS = 60000

-- Names the queue of the dead letters: {name, max_retries or false}. The last writer counts.
function DeadLetters.configure(keys, config)
  local stored = redis.call("HMGET", keys.meta, QUEUE, MAX_RETRIES)
  if stored[1] ~= config[1] then
    redis.call("HSET", keys.meta, QUEUE, config[1])
  end
  if config[2] and tonumber(stored[2]) ~= config[2] then
    redis.call("HSET", keys.meta, MAX_RETRIES, config[2])
  elseif not config[2] and stored[2] then
    redis.call("HDEL", keys.meta, MAX_RETRIES)
  end
end

-- The fault of a `config` as above, or nil.
function DeadLetters.fault(keys, config)
  if Arguments.row_fault({ config }, { "string", "any" }) or not DeadLetters.is_name(keys, config[1]) then
    return "dead_letters must hold the name of another queue"
  elseif config[2] and (type(config[2]) ~= "number" or config[2] < 0 or config[2] % 1 ~= 0) then
    return "dead_letters: max_retries must be a whole number"
  end
  return nil
end

-- Whether this can be the dead letter queue of this queue.
function DeadLetters.is_name(keys, name)
  return name ~= "" and not string.find(name, "[{}:]") and name ~= Keys.queue_name(keys)
end

function DeadLetters.forget(keys)
  redis.call("HDEL", keys.meta, QUEUE, MAX_RETRIES)
end

-- The name of the dead letter queue, or nil, and the most retries of a job, or nil.
function DeadLetters.of_queue(keys)
  local stored = redis.call("HMGET", keys.meta, QUEUE, MAX_RETRIES)
  if stored[1] and DeadLetters.is_name(keys, stored[1]) then
    return stored[1], tonumber(stored[2])
  end
  return nil, nil
end

-- The same, read once per call.
local function policy(settlement)
  if settlement.dead_letters == nil then
    local name, max_retries = DeadLetters.of_queue(settlement.keys)
    settlement.dead_letters = { name = name, max_retries = max_retries }
  end
  return settlement.dead_letters
end

-- The runs that a job may have: what it asks for, within what the dead letter queue's settings allow.
function DeadLetters.most_attempts(settlement, attempts)
  local max_retries = attempts > 1 and policy(settlement).max_retries
  return max_retries and math.min(attempts, max_retries + 1) or attempts
end

-- A job has failed for good; its hash is still there. `error` is the name of what its processor raised, "" for others
-- whose last attempt was counted, nil if none was. Nobody wants to hear more of a revoked job.
function DeadLetters.note(settlement, id, error)
  local keys, to = settlement.keys, policy(settlement).name
  if not to then
    return
  end
  local job = redis.call(
    "HMGET", keys.job .. id, "name", "data", "opts", "attemptsMade", "revoked", "failedReason"
  )
  if job[5] == "1" then
    return
  end
  local attempts = (tonumber(job[4]) or 0) - (error and 1 or 0)
  if redis.call("XLEN", keys.dead_letters) >= DeadLetters.MOST then
    redis.call("HINCRBY", keys.meta, DeadLetters.LOST, 1)
  end
  redis.call(
    "XADD", keys.dead_letters, "MAXLEN", DeadLetters.MOST, "*", "to", to, "job", id, "name", job[1] or "",
    "data", job[2] or "{}", "opts", job[3] or "{}", "reason", job[6] or "", "attempts", math.max(attempts, 0),
    "error", error or "", "at", string.format("%.0f", settlement.now)
  )
end
