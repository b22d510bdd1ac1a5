-- Ending: the ways in which a job fails for good.
local Ending = {}

Ending.STALLED = "job stalled more than maxStalledCount"
Ending.REVOKED = "revoked"
Ending.EXPIRED = "expired"

-- `processed_on` is the start of the run that ended, or false. Extra fields of the hash follow.
function Ending.fail(settlement, id, reason, processed_on, policy, ...)
  local now = settlement.now
  redis.call(
    "HSET", settlement.keys.job .. id, "state", "failed", "failedReason", reason, "finishedOn", now, ...
  )
  settlement:event("failed", id, "failedReason", reason)
  settlement:fail(id, math.max(now - (tonumber(processed_on) or now), 0), policy)
end

-- Nobody started the job before its `expireAt`: no attempt is counted.
function Ending.expire(settlement, id)
  local now = settlement.now
  redis.call(
    "HSET", settlement.keys.job .. id, "state", "failed", "failedReason", Ending.EXPIRED, "finishedOn", now
  )
  settlement:event("expired", id)
  settlement:fail(id, 0, false)
end

-- The hash cannot be run by anybody; it is kept for a look, out of the way.
function Ending.quarantine(settlement, id, fault)
  Ending.fail(settlement, id, "malformed job: " .. fault, false, false)
end
