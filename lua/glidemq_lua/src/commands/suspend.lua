-- suspend: running jobs stop here and wait for a signal. No attempt is charged; the next run starts from the beginning.
-- Moves:  active -> suspended, or waiting or prioritized (a signal came early); active -> failed (revoked)
-- Keys:   job, stream, scheduled, lifo, bell, suspended, signals, list-active, failed, events, metrics, x-py:active; group;
--         those of removed jobs
-- Args:   rows [[id, token, processed_on, entry_id, reason or false, timeout_ms]], events, metrics
--         timeout_ms: 0 is for ever
-- Reply:  ["ok", now_ms, [code], next_due_ms]; 1 it waits, or has been signalled; 6 failed since it was revoked; the
--         queue's next due time, or -1
-- Errors: bad_argument; per row already, gone, lease_lost
-- Events: suspended, resumed {signal}, failed
--
-- A job of a group with a concurrency of 1 keeps its turn while it waits; above 1 another may have its slot.

local function suspend(settlement, row)
  local values, code = Run.leave(settlement, "suspend", row, "groupKey", "name")
  if not values then
    return code
  end
  local group_key, name = values[Run.FIRST], values[Run.FIRST + 1]
  if group_key then
    Turns.step_back(settlement, row[1])
  end
  Suspension.suspend(settlement, row[1], name, row[5], row[6], Lease.spent(row[2]))
  return Replies.ACCEPTED
end

local ROW = { "string", "string", "number", "string", "?string", "number" }

local function fault_of(row)
  return (row[6] < 0 or not Delayed.fits(row[6])) and "timeout_ms is out of range"
end

Library.command("suspend", { "allow-oom" }, { rows = "table" }, function(keys, args, now)
  local fault = Arguments.row_fault(args.rows, ROW, fault_of)
  if fault then
    return Replies.bad_argument(fault)
  end
  local outcomes, settlement = Run.settle_all(keys, args, now, suspend)
  return Replies.pack("ok", now, outcomes, Promotion.next_due(settlement))
end)
