-- move_to_waiting_children: running jobs stop here until all their children have ended, and then run again from the top.
-- No attempt is charged. A job that has nothing to wait for runs again at once.
-- Moves:  active -> waiting-children, waiting or prioritized, or failed (revoked, or a child failed whose failure
--         concerns its parent)
-- Keys:   job, deps, stream, scheduled, lifo, bell, list-active, failed, events, metrics, ordering, group, groupq, x-py:active, x-py:parents,
--         x-py:outbox; those of removed jobs
-- Args:   rows [[id, token, processed_on, entry_id]], events, metrics
-- Reply:  ["ok", now_ms, [code]]; 1 it waits, or will run again; 6 failed
-- Errors: bad_argument; per row already, gone, lease_lost
-- Events: waiting-children, or active (it will run again at once), or failed
--
-- A job of a group with a concurrency of 1 keeps its turn while it waits; above 1 another may have its slot.

local function move(settlement, row)
  local values, code = Run.leave(settlement, "move_to_waiting_children", row, "groupKey")
  if not values then
    return code
  end
  local id, token = row[1], row[2]
  if not Dependencies.park(settlement, id, Lease.spent(token)) then
    return Replies.FAILED
  end
  Suspension.passed(settlement.keys, id)
  if values[Run.FIRST] then
    Turns.step_back(settlement, id)
  end
  return Replies.ACCEPTED
end

local ROW = { "string", "string", "number", "string" }

Library.command("move_to_waiting_children", { "allow-oom" }, { rows = "table" }, function(keys, args, now)
  local fault = Arguments.row_fault(args.rows, ROW)
  if fault then
    return Replies.bad_argument(fault)
  end
  return Replies.pack("ok", now, (Run.settle_all(keys, args, now, move)))
end)
