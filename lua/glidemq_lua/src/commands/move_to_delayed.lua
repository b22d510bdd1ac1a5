-- move_to_delayed: running jobs stop here and go on later, with other data if they like. No attempt is charged.
-- Moves:  active -> delayed; active -> failed (revoked)
-- Keys:   job, stream, scheduled, list-active, failed, events, metrics, x-py:active; those of removed jobs
-- Args:   rows [[id, token, processed_on, entry_id, until_ms, data or false]], events, metrics
-- Reply:  ["ok", now_ms, [code], next_due_ms]; 1 moved, 6 failed since it was revoked; the queue's next due time, or -1
-- Errors: bad_argument; per row already, gone, lease_lost
-- Events: delay-changed {delay}, failed
--
-- A job of a group with a concurrency of 1 keeps its turn while it is delayed; above 1 another may have its slot.

local function move(settlement, row)
  local values, code = Run.leave(settlement, "move_to_delayed", row, "priority", "groupKey")
  if not values then
    return code
  end
  local id, token, until_ms, data = row[1], row[2], row[5], row[6]
  local keys, now = settlement.keys, settlement.now
  local priority, group_key = values[Run.FIRST], values[Run.FIRST + 1]
  local due = math.max(until_ms, now)
  Delayed.add(keys, id, tonumber(priority) or 0, due)
  States.enter(keys, id, "delayed", "delay", due - now, Lease.RUN, Lease.spent(token))
  if data then
    redis.call("HSET", keys.job .. id, "data", data)
  end
  Suspension.passed(keys, id)
  settlement:event("delay-changed", id, "delay", due - now)
  if group_key then
    Turns.step_back(settlement, id)
  end
  return Replies.ACCEPTED
end

local ROW = { "string", "string", "number", "string", "number", "?string" }

local function fault_of(row)
  return not Delayed.fits(row[5]) and "until_ms is out of range"
end

Library.command("move_to_delayed", { "allow-oom" }, { rows = "table" }, function(keys, args, now)
  local fault = Arguments.row_fault(args.rows, ROW, fault_of)
  if fault then
    return Replies.bad_argument(fault)
  end
  local outcomes, settlement = Run.settle_all(keys, args, now, move)
  return Replies.pack("ok", now, outcomes, Promotion.next_due(settlement))
end)
