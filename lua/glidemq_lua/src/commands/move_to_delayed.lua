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
  local id, token, processed_on, entry_id, until_ms, data = unpack(row, 1, 6)
  local keys, now = settlement.keys, settlement.now
  local job = keys.job .. id
  local values = redis.pcall(
    "HMGET", job, "state", Lease.RUN, "processedOn", "priority", "x-py:cell", "revoked", "groupKey"
  )
  local refusal = values.err and Replies.GONE
    or Lease.refusal("move_to_delayed", values[1], values[2], values[3], token, processed_on)
  if refusal then
    if refusal == Replies.GONE then
      settlement:leave(id, entry_id)
    end
    return refusal
  end
  settlement:leave(id, entry_id, values[5])
  if values[6] == "1" then
    local policy = Retention.of_options(redis.call("HGET", job, "opts"), "removeOnFail")
    Ending.revoke_run(settlement, id, token, processed_on, policy)
    return Replies.FAILED
  end
  local due = math.max(until_ms, now)
  Delayed.add(keys, id, tonumber(values[4]) or 0, due)
  States.enter(keys, id, "delayed", "delay", due - now, Lease.RUN, Lease.spent(token))
  if data then
    redis.call("HSET", job, "data", data)
  end
  settlement:event("delay-changed", id, "delay", due - now)
  if values[7] then
    Turns.step_back(settlement, id)
  end
  return Replies.ACCEPTED
end

local ROW = { "string", "string", "number", "string", "number", "?string" }

local function fault_of(rows)
  local fault = Arguments.row_fault(rows, ROW)
  for number = 1, fault and 0 or #rows do
    if not Delayed.fits(rows[number][5]) then
      return "row " .. number .. ": until_ms is out of range"
    end
  end
  return fault
end

Library.command("move_to_delayed", { "allow-oom" }, { rows = "table" }, function(keys, args, now)
  local fault = fault_of(args.rows)
  if fault then
    return Replies.bad_argument(fault)
  end
  local settlement = Settlement.open(keys, now, args)
  local outcomes = {}
  for number, row in ipairs(args.rows) do
    outcomes[number] = move(settlement, row)
  end
  settlement:close()
  local next_due = Promotion.next_due(settlement)
  return Replies.pack("ok", now, outcomes, next_due)
end)
