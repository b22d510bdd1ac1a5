-- Ending: the ways in which a job fails for good.
local Ending = {}

Ending.STALLED = "job stalled more than maxStalledCount"
Ending.REVOKED = "revoked"
Ending.EXPIRED = "expired"
-- The wire keeps the time of a failure in `processedOn`. This field keeps what it replaces, "<failure>:<start>": it
-- holds as long as `processedOn` is that failure.
Ending.STARTED = "x-py:started"

function Ending.started(now, processed_on)
  return now .. ":" .. processed_on
end

local function fail(settlement, id, reason, processed_on, policy, error, ...)
  local now = settlement.now
  States.enter(settlement.keys, id, "failed", "failedReason", reason, "finishedOn", now, ...)
  JobStreams.has_ended(settlement.keys, id)
  settlement:event("failed", id, "failedReason", reason)
  settlement:fail(id, math.max(now - (tonumber(processed_on) or now), 0), policy, error)
end

-- `processed_on` is the start of the run that ended, or false. Extra fields of the hash follow.
function Ending.fail(settlement, id, reason, processed_on, policy, ...)
  fail(settlement, id, reason, processed_on, policy, nil, ...)
end

-- The last attempt failed, and was counted. `error` is the name of what it raised, or "".
function Ending.fail_attempt(settlement, id, reason, processed_on, policy, token, error)
  fail(
    settlement, id, reason, processed_on, policy, error, "processedOn", settlement.now, Lease.RUN, Lease.spent(token), Ending.STARTED,
    Ending.started(settlement.now, processed_on)
  )
end

-- The run of a revoked job has ended, however it ended: it fails, without a retry. Returns the attempts made.
function Ending.revoke_run(settlement, id, token, processed_on, policy)
  local attempts_made = redis.call("HINCRBY", settlement.keys.job .. id, "attemptsMade", 1)
  Ending.fail(
    settlement, id, Ending.REVOKED, processed_on, policy, "processedOn", settlement.now, Lease.RUN, Lease.spent(token),
    Ending.STARTED, Ending.started(settlement.now, processed_on)
  )
  return attempts_made
end

-- Revoked while nobody ran it. What tells is the event `revoked`, which a flagged job gets as well.
function Ending.revoke(settlement, id)
  States.enter(settlement.keys, id, "failed", "failedReason", Ending.REVOKED, "finishedOn", settlement.now)
  JobStreams.has_ended(settlement.keys, id)
  settlement:event("revoked", id)
  settlement:revoke(id)
end

-- Nobody started the job before its `expireAt`: no attempt is counted.
function Ending.expire(settlement, id)
  local now = settlement.now
  States.enter(settlement.keys, id, "failed", "failedReason", Ending.EXPIRED, "finishedOn", now)
  JobStreams.has_ended(settlement.keys, id)
  settlement:event("expired", id)
  settlement:fail(id, 0, false)
end

-- The hash cannot be run by anybody; it is kept for a look, out of the way.
function Ending.quarantine(settlement, id, fault)
  Ending.fail(settlement, id, "malformed job: " .. fault, false, false)
end
