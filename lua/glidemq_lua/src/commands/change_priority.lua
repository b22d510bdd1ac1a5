-- change_priority: give a job that has not started another priority.
-- Moves:  waiting -> prioritized; prioritized -> waiting (priority 0); delayed, prioritized stay
-- Keys:   job, stream, priority, lifo, scheduled, events, bell
-- Args:   id, priority (0..2048), resume (from the last reply; absent at first)
-- Reply:  ["ok"] | ["no_op"] | ["more", resume] | ["not_found"] | ["invalid_priority"] | ["invalid_state"]
--         | ["not_in_stream"] | ["not_in_scheduled"]
--         more: nothing has changed yet, call again with it to go on looking for the job's stream entry.
--         invalid_state: also for a waiting job that a host is about to start. A LIFO job that waits has no priority.
-- Errors: bad_argument
-- Events: priority-changed {priority}
local SPEC = { id = "string", priority = "number", resume = "?table" }

local HIGHEST = 2048

local ID, STATE, NAME, LIFO, TIMESTAMP, DELAY = 1, 2, 3, 4, 5, 6

local function prioritize_waiting(keys, id, job, priority, resume)
  if priority == 0 then
    return "no_op"
  end
  local outcome, unsearched = "ok", nil
  if redis.call("LREM", keys.priority, 0, id) == 0 then
    if job[LIFO] == "1" then
      return "not_in_stream"
    end
    local ranges = resume or Withdrawal.ranges(job[TIMESTAMP], job[DELAY])
    outcome, unsearched = Withdrawal.from_stream(keys, id, ranges)
  end
  if outcome == "ok" then
    Delayed.add(keys, id, priority, 0)
    States.enter(keys, id, "prioritized")
  end
  return outcome, unsearched
end

local function rescore(keys, id, job, priority)
  local score = tonumber(redis.call("ZSCORE", keys.scheduled, id))
  if not score then
    return "not_in_scheduled"
  end
  if job[STATE] == "prioritized" and priority == 0 then
    redis.call("ZREM", keys.scheduled, id)
    Promotion.place(keys, id, 0, job[NAME], job[LIFO])
    States.enter(keys, id, "waiting")
  else
    local _, due = Delayed.split(score)
    Delayed.add(keys, id, priority, due)
  end
  return "ok"
end

Library.command("change_priority", {}, SPEC, function(keys, args)
  local id, priority = args.id, args.priority
  local fault = Withdrawal.fault(args.resume)
  if fault then
    return Replies.bad_argument(fault)
  elseif priority < 0 or priority > HIGHEST or priority % 1 ~= 0 then
    return Replies.pack("invalid_priority")
  end
  local key = keys.job .. id
  local job = redis.call("HMGET", key, "id", "state", "name", "lifo", "timestamp", "delay")
  if not job[ID] then
    return Replies.pack("not_found")
  elseif not States.allows("reschedule", job[STATE]) then
    return Replies.pack("invalid_state")
  end
  local outcome, rest
  if job[STATE] == "waiting" then
    outcome, rest = prioritize_waiting(keys, id, job, priority, args.resume or nil)
  else
    outcome = rescore(keys, id, job, priority)
  end
  if outcome ~= "ok" then
    return Replies.pack(outcome, rest)
  end
  redis.call("HSET", key, "priority", priority)
  States.changed(keys, id)
  Events.emit(keys, "priority-changed", id, "priority", priority)
  Ready.ring(keys)
  return Replies.pack("ok")
end)
