-- Revocations: running jobs that were revoked lately, so that whoever runs them hears of it long before the next
-- heartbeat, which tells the same.
local Revocations = {}

-- When the run is to be ended by force, epoch ms; a field of the job.
Revocations.FORCE_AT = "x-py:forceAt"

local KEPT_MS = 60000

function Revocations.announce(keys, id, now)
  redis.call("ZREMRANGEBYSCORE", keys.revocations, "-inf", now - KEPT_MS)
  redis.call("ZADD", keys.revocations, now, id)
  redis.call("PEXPIRE", keys.revocations, KEPT_MS)
end

-- The ids announced at this time or later, oldest first, at most `limit`.
function Revocations.since(keys, time, limit)
  return redis.call("ZRANGE", keys.revocations, time, "+inf", "BYSCORE", "LIMIT", 0, limit)
end
