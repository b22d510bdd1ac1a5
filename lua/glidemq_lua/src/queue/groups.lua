-- Groups: jobs with an ordering key start in the order of their adds, within the concurrency and the limits of their
-- group. Those that may not start yet are parked (see Parking) until their turn, a slot or the limits let them go.
local Groups = {}

-- Due groups looked at per call.
local GROUPS_AT_ONCE = 100

-- The sequence of the next job of a group.
function Groups.next_place(keys, key)
  return redis.call("HINCRBY", keys.ordering, key, 1)
end

-- A job that was added without a place, since it had to wait for others, is about to be ready.
function Groups.take_place(keys, id)
  local fields = redis.call("HMGET", keys.job .. id, "groupKey", "orderingSeq")
  if fields[1] and fields[1] ~= "" and not fields[2] then
    redis.call("HSET", keys.job .. id, "orderingSeq", Groups.next_place(keys, fields[1]))
  end
end

local function park(settlement, group, id, values, seq, slot)
  Parking.park(settlement, group, id, seq, Record.timestamp(values), slot)
  return false
end

-- Whether somebody paused the group; or a limit keeps it waiting, and the job would overtake one that waits already.
local function is_held_up(settlement, group, seq)
  return group.resume_at > settlement.now
    and (group:is_paused() or Parking.is_before(settlement, group, seq))
end

-- The one place where every start of a job with a group or a cost asks. True: it starts, and the group has counted it.
-- Else it is parked, or has failed for good. The gates in order: turn, concurrency, pause, token bucket, window.
function Groups.admit(settlement, id, values)
  local key = Record.group_key(values)
  if not key then
    return true
  end
  local group, seq = Group.of(settlement, key), Group.sequence(Record.ordering_seq(values))
  if group.resume_at > 0 and group.resume_at <= settlement.now then
    group:forget_wake()
    Parking.wake(settlement, group)
  end
  local slot, holds = nil, false
  if not seq or group:has_started(seq) then
    slot = redis.call("HGET", settlement.keys.job .. id, Group.SLOT)
    holds = group:holds(seq, slot)
  elseif not group:reaches(seq) then
    return park(settlement, group, id, values, seq, slot)
  end
  if not holds and group:room() <= 0 or is_held_up(settlement, group, seq) then
    return park(settlement, group, id, values, seq, slot)
  end
  local cost = Record.cost(values) or TokenBucket.DEFAULT_COST
  if group:is_too_dear(cost) then
    Ending.fail(settlement, id, Parking.OVER_COST, false, false)
    Turns.bury(settlement)
    return false
  end
  local wait_ms = group:ms_until(cost)
  if wait_ms > 0 then
    park(settlement, group, id, values, seq, slot)
    group:wake_at(settlement.now + wait_ms)
    return false
  end
  group:start(seq, holds, cost)
  return true
end

-- Lets parked jobs go wherever this call has made room, and writes the groups down. Returns how many became ready.
function Groups.settle(settlement)
  Turns.bury(settlement)
  local woken, number = 0, 1
  local groups = settlement.groups or {}
  while groups[number] do
    if groups[number].touched then
      woken = woken + Parking.wake(settlement, groups[number])
    end
    number = number + 1
  end
  for index = 1, #groups do
    groups[index]:save()
  end
  return woken
end

-- Looks at the groups whose time has come.
function Groups.promote_due(settlement)
  local keys, now = settlement.keys, settlement.now
  local first = redis.call("ZRANGE", keys.ratelimited, 0, 0, "WITHSCORES")
  settlement.limited = first[1] ~= nil
  if not first[1] or tonumber(first[2]) > now then
    return
  end
  local due = redis.call("ZRANGE", keys.ratelimited, "-inf", now, "BYSCORE", "LIMIT", 0, GROUPS_AT_ONCE)
  redis.call("ZREM", keys.ratelimited, unpack(due))
  for _, key in ipairs(due) do
    local group = Group.of(settlement, key)
    group.resume_at, group.touched = 0, true
  end
  Groups.settle(settlement)
end

-- When the next group is to be looked at, or -1.
function Groups.next_due(settlement)
  if settlement.limited == false then
    return -1
  end
  local first = redis.call("ZRANGE", settlement.keys.ratelimited, 0, 0, "WITHSCORES")
  return tonumber(first[2]) or -1
end

-- The settings of a group have changed: what is parked is looked at by the next step. A pause stays.
function Groups.kick(keys, key, now)
  if redis.call("EXISTS", keys.groupq .. key) == 0 then
    return
  end
  local score = redis.call("ZSCORE", keys.ratelimited, key)
  if not score or redis.call("HGET", keys.group .. key, "x-py:wakeAt") == score then
    redis.call("ZADD", keys.ratelimited, now, key)
    Ready.ring(keys)
  end
end
