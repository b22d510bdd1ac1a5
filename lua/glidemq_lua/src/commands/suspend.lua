-- suspend: running jobs stop here and wait for a signal. No attempt is charged; the next run starts from the beginning.
-- Moves:  active -> suspended, or waiting (a signal came early); active -> failed (revoked)
-- Keys:   job, stream, suspended, signals, list-active, failed, events, metrics, x-py:active; group; those of removed
--         jobs
-- Args:   rows [[id, token, processed_on, entry_id, reason or false, timeout_ms]], events, metrics
--         timeout_ms: 0 is for ever
-- Reply:  ["ok", now_ms, [code], next_due_ms]; 1 it waits, or has been signalled; 6 failed since it was revoked; the
--         queue's next due time, or -1
-- Errors: bad_argument; per row already, gone, lease_lost
-- Events: suspended, resumed {signal}, failed
--
-- A job of a group with a concurrency of 1 keeps its turn while it waits; above 1 another may have its slot.

local function suspend(settlement, row)
  local id, token, processed_on, entry_id, reason, timeout_ms = unpack(row, 1, 6)
  local job = settlement.keys.job .. id
  local values = redis.pcall(
    "HMGET", job, "state", Lease.RUN, "processedOn", "x-py:cell", "revoked", "groupKey", "name"
  )
  local refusal = values.err and Replies.GONE
    or Lease.refusal("suspend", values[1], values[2], values[3], token, processed_on)
  if refusal then
    if refusal == Replies.GONE then
      settlement:leave(id, entry_id)
    end
    return refusal
  end
  settlement:leave(id, entry_id, values[4])
  if values[5] == "1" then
    local policy = Retention.of_options(redis.call("HGET", job, "opts"), "removeOnFail")
    Ending.revoke_run(settlement, id, token, processed_on, policy)
    return Replies.FAILED
  end
  if values[6] then
    Turns.step_back(settlement, id)
  end
  Suspension.suspend(settlement, id, values[7], reason, timeout_ms, Lease.spent(token))
  return Replies.ACCEPTED
end

local ROW = { "string", "string", "number", "string", "?string", "number" }

local function fault_of(rows)
  local fault = Arguments.row_fault(rows, ROW)
  for number = 1, fault and 0 or #rows do
    if rows[number][6] < 0 or not Delayed.fits(rows[number][6]) then
      return "row " .. number .. ": timeout_ms is out of range"
    end
  end
  return fault
end

Library.command("suspend", { "allow-oom" }, { rows = "table" }, function(keys, args, now)
  local fault = fault_of(args.rows)
  if fault then
    return Replies.bad_argument(fault)
  end
  local settlement = Settlement.open(keys, now, args)
  local outcomes = {}
  for number, row in ipairs(args.rows) do
    outcomes[number] = suspend(settlement, row)
  end
  settlement:close()
  return Replies.pack("ok", now, outcomes, Promotion.next_due(settlement))
end)
