-- Promotion: due and prioritized jobs become ready. Classes are visited in ascending order, so urgent ones come out
-- of the priority list first. Needs no leader: it is atomic, and whoever is first does it.
local Promotion = {}

local BATCH = 5000 -- unpack stops at 7,999
-- Priority classes that a frequent call looks at; promote_due looks at all of them.
Promotion.FEW_CLASSES = 128

-- Puts a job where ready ones of its kind wait. Returns whether that is a list.
function Promotion.place(keys, id, class, name, lifo)
  if lifo == "1" then
    redis.call("RPUSH", keys.lifo, id)
    return true
  elseif class > 0 then
    redis.call("LPUSH", keys.priority, id)
    return true
  end
  Ready.append(keys, id, name)
  return false
end

-- One member: "promoted", "expired" or "dropped", and whether a list was written.
local function promote_member(settlement, member, class)
  local keys = settlement.keys
  local id, subscription = Subscriptions.split(keys, member)
  local job = keys.job .. id
  local fields = redis.pcall("HMGET", job, "state", "name", "lifo", "expireAt")
  if fields.err or not fields[1] then
    return "dropped", false
  end
  if subscription then
    redis.call("XADD", keys.stream, "*", "jobId", id, "name", fields[2] or "", "retryGroup", subscription)
    States.enter(keys, id, "waiting")
    settlement:event("promoted", id)
    return "promoted", false
  end
  if not States.allows("promote", fields[1]) then
    return "dropped", false
  end
  if Record.is_expired(fields[4], settlement.now) then
    if fields[1] ~= "failed" then
      Ending.expire(settlement, id)
    end
    return "expired", false
  end
  local to_list = Promotion.place(keys, id, class, fields[2], fields[3])
  States.enter(keys, id, "waiting")
  settlement:event("promoted", id)
  return "promoted", to_list, fields[3] == "1"
end

-- Promotes at most `limit` due members of class 0 and at most `prioritized_limit` of all others, looking at no more
-- than `max_classes` classes. Returns a table:
--   promoted, expired  numbers of jobs
--   next_due           the earliest due time that still needs a promotion, or -1. Not after now only for class 0:
--                      prioritized jobs wait for slots, not for the clock
--   left               true when due work stays behind
--   left_urgent        true when prioritized work does
--   wrote_list         true when a list got a job
--   urgent_lifo        true when a prioritized job waits in the list of the newest first
function Promotion.run(settlement, limit, prioritized_limit, max_classes)
  local keys, now = settlement.keys, settlement.now
  local result = {
    promoted = 0, expired = 0, dropped = 0, next_due = -1, left = false, left_urgent = false, wrote_list = false,
    urgent_lifo = false,
  }
  local cursor = 0
  for _ = 1, max_classes do
    local id, class, due = Delayed.head(keys, cursor)
    if not id then
      break
    end
    if due <= now then
      local room = math.min(class == 0 and limit or prioritized_limit, BATCH)
      local taken = 0
      if room > 0 then
        local members = Delayed.due(keys, class, now, room)
        taken = #members
        redis.call("ZREM", keys.scheduled, unpack(members))
        for _, member in ipairs(members) do
          local outcome, to_list, to_lifo = promote_member(settlement, member, class)
          result[outcome] = result[outcome] + 1
          result.wrote_list = result.wrote_list or to_list
          result.urgent_lifo = result.urgent_lifo or class > 0 and to_lifo or false
        end
        if class > 0 then
          prioritized_limit = prioritized_limit - taken
        end
      end
      local left = taken >= room and Delayed.is_due(keys, class, now)
      result.left = result.left or left
      result.left_urgent = result.left_urgent or left and class > 0
      if not (left and class == 0) then
        due = Delayed.next_in_class(keys, class, now)
      end
    end
    if due and (result.next_due < 0 or due < result.next_due) then
      result.next_due = due
    end
    cursor = Delayed.after_class(class)
  end
  return result
end

-- Of two due times, either of which may be -1 for none.
function Promotion.earlier(a, b)
  if a < 0 or b < 0 then
    return math.max(a, b)
  end
  return math.min(a, b)
end

-- Of the next job's due time, and what else happens by the clock: a group is let go, a suspended job's time is over.
function Promotion.earliest(settlement, next_due)
  return Promotion.earlier(Promotion.earlier(next_due, Groups.next_due(settlement)), Suspension.next_due(settlement))
end

-- When that is, or -1.
function Promotion.next_due(settlement)
  local promotion = Promotion.run(settlement, 0, 0, Promotion.FEW_CLASSES)
  return Promotion.earliest(settlement, promotion.next_due)
end
