-- ManualRetry: a failed job gets all its attempts once more, at once. What it failed of is forgotten, apart from a
-- revocation and an `expireAt` in the past: with those it fails again.
local ManualRetry = {}

-- Returns false, and changes nothing, unless the job has failed. The caller takes it out of the failed set.
function ManualRetry.schedule(keys, id, now)
  local key = keys.job .. id
  local job = redis.call(
    "HMGET", key, "id", "state", "priority", "x-py:crashes", "groupKey", "orderingSeq", "attemptsMade"
  )
  if not job[1] or not States.allows("retry_by_hand", job[2]) then
    return false
  end
  local charged = (tonumber(job[7]) or 0) + (tonumber(job[4]) or 0)
  Restarts.count(keys, id, math.max(charged, 1)) -- both are counted anew
  Delayed.add(keys, id, tonumber(job[3]) or 0, now)
  States.enter(keys, id, "delayed", "attemptsMade", "0", "failedReason", "", "finishedOn", "")
  if job[4] then
    -- Killed processes are counted anew; the field alone still makes it run with no other beside it.
    redis.call("HSET", key, "x-py:crashes", "0")
  end
  if job[5] then
    redis.call("HSET", key, Group.SLOT, Group.GIVEN_UP)
    Group.expect_again(keys, job[5], Group.sequence(job[6]))
    Groups.take_place(keys, id) -- a parent that never was ready
  end
  return true
end
