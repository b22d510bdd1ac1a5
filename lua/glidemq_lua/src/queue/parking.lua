-- Parking: jobs of a group that may not start yet, in `P:groupq:<group>` in the order in which they will, state
-- `group-waiting`. A parked job holds no slot.
local Parking = {}

Parking.OVER_COST = "cost exceeds token bucket capacity"

-- Parked jobs looked at in one call, about 8 us each; what is left is looked at by the next one.
local BUDGET = 200
local READ_AT_ONCE = 50

local WOKEN, GONE, WAITS = 1, 2, 3

-- `slot` is the job's `x-py:slot`.
function Parking.park(settlement, group, id, seq, timestamp, slot)
  local keys = settlement.keys
  redis.call("ZADD", keys.groupq .. group.key, seq or tonumber(id) or tonumber(timestamp) or 0, id)
  if group:holds(seq, slot) then
    group:free_slot()
    States.enter(keys, id, "group-waiting", Group.SLOT, Group.GIVEN_UP)
  else
    States.enter(keys, id, "group-waiting")
  end
end

-- The job of this group that runs now is parked, in front of all that start after it or behind all that were added so
-- far. `run` takes the place of its holder's token.
function Parking.park_running(settlement, group, id, seq, position, run)
  local keys = settlement.keys
  local queue = keys.groupq .. group.key
  local score = seq or 0
  if position == "back" then
    local last = redis.call("ZRANGE", queue, 0, 0, "REV", "WITHSCORES")
    local issued = tonumber(redis.call("HGET", keys.ordering, group.key)) or 0
    score = math.max(tonumber(last[2]) or 0, issued) + 1
  end
  redis.call("ZADD", queue, score, id)
  group:free_slot()
  States.enter(keys, id, "group-waiting", Lease.RUN, run, Group.SLOT, Group.GIVEN_UP)
end

-- A parked job stands in front of all jobs of its group that come after `seq`.
function Parking.is_before(settlement, group, seq)
  local head = redis.call("ZRANGE", settlement.keys.groupq .. group.key, 0, 0, "WITHSCORES")
  return head[1] ~= nil and (not seq or tonumber(head[2]) < seq)
end

-- Puts the job where ready ones of its kind wait.
local function place(keys, id, priority, name)
  if (tonumber(priority) or 0) > 0 then
    redis.call("LPUSH", keys.priority, id)
    Ready.ring(keys)
  else
    Ready.append(keys, id, name)
  end
end

-- What a look at parked jobs has let go so far: nothing of it is counted in the group before those jobs start.
local function new_plan()
  return { starts = 0, first_starts = 0, tokens = 0 }
end

-- Whether the limits and the jobs let go before leave the next one a start. Else the group waits for its limits, or
-- for those jobs.
local function fits(group, plan, cost)
  local wait_ms = group:ms_until(cost)
  if wait_ms > 0 then
    group:wake_at(group.settlement.now + wait_ms)
    return false
  end
  return group:room() > plan.first_starts
    and not (group.bucket and plan.tokens + cost > group.bucket.tokens)
    and not (group.window and plan.starts >= group.window:left())
end

-- Judges the first parked job.
local function look(settlement, group, plan, id)
  local keys = settlement.keys
  local queue, key = keys.groupq .. group.key, keys.job .. id
  local job = redis.pcall("HMGET", key, "state", "orderingSeq", "cost", "expireAt", "name", "priority")
  if job.err or not States.allows("unpark", job[1]) then
    redis.call("ZREM", queue, id)
    return GONE
  end
  local seq, cost = Group.sequence(job[2]), tonumber(job[3]) or TokenBucket.DEFAULT_COST
  local expired = Record.is_expired(job[4], settlement.now)
  if expired or group:is_too_dear(cost) then
    redis.call("ZREM", queue, id)
    if expired then
      Ending.expire(settlement, id)
    else
      Ending.fail(settlement, id, Parking.OVER_COST, false, false)
    end
    Turns.bury(settlement)
    return GONE
  end
  if seq and seq > group.next_seq + plan.first_starts and not group:reaches(seq) then
    return WAITS
  elseif not fits(group, plan, cost) then
    return WAITS
  end
  redis.call("ZREM", queue, id)
  plan.starts, plan.tokens = plan.starts + 1, plan.tokens + cost
  if group:has_started(seq) then
    -- The slot is kept for it, so that nobody takes its turn before it is read.
    group:take_slot()
    States.enter(keys, id, "waiting", Group.SLOT, Group.HELD)
  else
    plan.first_starts = plan.first_starts + 1
    States.enter(keys, id, "waiting")
  end
  place(keys, id, job[6], job[5])
  return WOKEN
end

local function wake(settlement, group, plan)
  local queue = settlement.keys.groupq .. group.key
  while group:room() > plan.first_starts do
    local most = math.min(group:room() - plan.first_starts, READ_AT_ONCE)
    local ids = redis.call("ZRANGE", queue, 0, most - 1)
    if #ids == 0 then
      group:forget_wake()
      return
    end
    for _, id in ipairs(ids) do
      settlement.looks = settlement.looks + 1
      if settlement.looks > BUDGET then
        group:wake_at(settlement.now)
        return
      elseif look(settlement, group, plan, id) == WAITS then
        return
      end
    end
  end
end

-- Makes parked jobs ready, as many as can start now. Returns how many.
function Parking.wake(settlement, group)
  local plan = new_plan()
  if not group:is_paused() then
    wake(settlement, group, plan)
  end
  group.touched = false
  return plan.starts
end
