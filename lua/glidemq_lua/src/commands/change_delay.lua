-- change_delay: let a job that has not started fall due at another time, counted from now.
-- Moves:  waiting, prioritized -> delayed; delayed -> waiting or prioritized (delay 0), or stays
-- Keys:   job, stream, priority, lifo, scheduled, events, bell
-- Args:   id, delay_ms, resume (from the last reply; absent at first)
-- Reply:  ["ok"] | ["no_op"] | ["more", resume] | ["not_found"] | ["invalid_delay"] | ["invalid_state"]
--         | ["not_in_stream"] | ["not_in_scheduled"]
--         more: nothing has changed yet, call again with it to go on looking for the job's stream entry.
--         invalid_state: also for a waiting job that a host is about to start.
-- Errors: bad_argument
-- Events: delay-changed {delay}
local SPEC = { id = "string", delay_ms = "number", resume = "?table" }

local ID, STATE, NAME, LIFO, PRIORITY, TIMESTAMP, DELAY = 1, 2, 3, 4, 5, 6, 7

local function withdraw_waiting(keys, id, job, resume)
  if Withdrawal.from_lists(keys, id) then
    return "ok"
  end
  return Withdrawal.from_stream(keys, id, resume or Withdrawal.ranges(job[TIMESTAMP], job[DELAY]))
end

-- A delayed job falls due at once. Returns its new state.
local function end_delay(keys, id, job, class)
  if class > 0 then
    Delayed.add(keys, id, class, 0)
    return "prioritized"
  end
  redis.call("ZREM", keys.scheduled, id)
  Promotion.place(keys, id, 0, job[NAME], job[LIFO])
  return "waiting"
end

-- Returns "ok" and the job's new state, or what is in the way and perhaps the rest of a search.
local function change(keys, id, job, delay_ms, now, resume)
  local state = job[STATE]
  if state ~= "delayed" and delay_ms == 0 then
    return "no_op"
  end
  local class
  if state == "waiting" then
    local outcome, unsearched = withdraw_waiting(keys, id, job, resume)
    if outcome ~= "ok" then
      return outcome, unsearched
    end
    class = tonumber(job[PRIORITY]) or 0
  else
    local score = tonumber(redis.call("ZSCORE", keys.scheduled, id))
    if not score then
      return "not_in_scheduled"
    end
    class = Delayed.split(score)
  end
  if delay_ms == 0 then
    return "ok", end_delay(keys, id, job, class)
  end
  Delayed.add(keys, id, class, now + delay_ms)
  return "ok", "delayed"
end

Library.command("change_delay", {}, SPEC, function(keys, args, now)
  local id, delay_ms = args.id, args.delay_ms
  local fault = Withdrawal.fault(args.resume)
  if fault then
    return Replies.bad_argument(fault)
  elseif delay_ms < 0 or delay_ms % 1 ~= 0 or not Delayed.fits(now + delay_ms) then
    return Replies.pack("invalid_delay")
  end
  local key = keys.job .. id
  local job = redis.call("HMGET", key, "id", "state", "name", "lifo", "priority", "timestamp", "delay")
  if not job[ID] then
    return Replies.pack("not_found")
  elseif not States.allows("reschedule", job[STATE]) then
    return Replies.pack("invalid_state")
  end
  local outcome, state_or_rest = change(keys, id, job, delay_ms, now, args.resume or nil)
  if outcome ~= "ok" then
    return Replies.pack(outcome, state_or_rest)
  end
  States.enter(keys, id, state_or_rest, "delay", delay_ms)
  Events.emit(keys, "delay-changed", id, "delay", delay_ms)
  Ready.ring(keys)
  return Replies.pack("ok")
end)
