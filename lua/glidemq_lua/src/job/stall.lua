-- Stall: is a job in hand still alive, and what happens to one that is not.
local Stall = {}

-- Fields that Stall.judge reads.
local FIELDS = {
  "state", "id", "name", "lastActive", "opts", "lifo", Lease.RUN, "expireAt", "processedOn", "revoked", "groupKey",
}
local STATE, ID, NAME, LAST_ACTIVE, OPTS, LIFO, RUN, EXPIRE_AT, PROCESSED_ON, REVOKED, GROUP_KEY =
  1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11

-- The job's own lock duration if it has a valid one, else the worker's, else the interval.
local function lock_of(opts, limits)
  return Lock.of_options(opts) or (limits.lock_ms > 0 and limits.lock_ms or limits.stalled_ms)
end

-- A job that nobody has heard of for this long may be dead; younger ones are not looked at.
function Stall.look_after(limits)
  return math.min(Lock.SHORTEST, limits.stalled_ms, limits.lock_ms > 0 and limits.lock_ms or Lock.SHORTEST)
end

-- The verdict on a job in hand, its fields and its lock:
--   "alive"; "unstarted" (delivered, but its host has not started it); "dead"; "echo" (nothing to run: the job is
--   gone, finished, or lives elsewhere)
-- `idle_ms` counts since delivery, for jobs without a heartbeat; nil for list jobs, which always have one.
function Stall.judge(keys, id, now, idle_ms, limits)
  local values = redis.pcall("HMGET", keys.job .. id, unpack(FIELDS))
  if values.err or not (values[ID] or values[NAME]) then
    return "echo"
  end
  local state = values[STATE]
  if not States.allows("reclaim", state) then
    return "echo", values
  end
  if not States.allows("stall", state) then
    -- It waits: a lastActive would be that of an earlier run, and a list job is in no hands at all.
    if not idle_ms then
      return "echo", values
    end
    return idle_ms < limits.stalled_ms and "alive" or "unstarted", values
  end
  local lock_ms = lock_of(values[OPTS], limits)
  local heard = tonumber(values[LAST_ACTIVE])
  local alive = heard and now - heard < lock_ms or not heard and idle_ms and idle_ms < limits.stalled_ms
  return alive and "alive" or "dead", values, lock_ms
end

-- Counts the stall. Returns "failed", "expired", or "stalled" when the job waits again, which the caller arranges.
function Stall.strike(settlement, id, values, max_stalled)
  local job = settlement.keys.job .. id
  local run = Lease.taken(values[RUN])
  if Record.is_expired(values[EXPIRE_AT], settlement.now) then
    redis.call("HSET", job, Lease.RUN, run)
    Ending.expire(settlement, id)
    return "expired"
  end
  local stalled = redis.call("HINCRBY", job, "stalledCount", 1)
  if values[REVOKED] == "1" then
    Ending.fail(settlement, id, Ending.REVOKED, values[PROCESSED_ON], false, Lease.RUN, run)
    return "failed"
  elseif stalled > max_stalled then
    Ending.fail(settlement, id, Ending.STALLED, values[PROCESSED_ON], false, Lease.RUN, run)
    return "failed"
  end
  settlement:event("stalled", id)
  if values[GROUP_KEY] then
    Turns.step_back(settlement, id)
  end
  return "stalled"
end

function Stall.name(values)
  return values[NAME]
end

function Stall.lifo(values)
  return values[LIFO]
end

function Stall.run(values)
  return values[RUN]
end
