-- move_to_waiting_children: running jobs stop here until all their children have ended, and then run again from the top.
-- No attempt is charged. A job that has nothing to wait for runs again at once.
-- Moves:  active -> waiting-children, waiting, or failed (revoked, or a child failed whose failure concerns its parent)
-- Keys:   job, deps, stream, list-active, failed, events, metrics, ordering, group, groupq, x-py:active, x-py:parents,
--         x-py:outbox; those of removed jobs
-- Args:   rows [[id, token, processed_on, entry_id]], events, metrics
-- Reply:  ["ok", now_ms, [code]]; 1 it waits, or will run again; 6 failed
-- Errors: bad_argument; per row already, gone, lease_lost
-- Events: waiting-children, or active (it will run again at once), or failed
--
-- A job of a group with a concurrency of 1 keeps its turn while it waits; above 1 another may have its slot.

local function move(settlement, row)
  local id, token, processed_on, entry_id = row[1], row[2], row[3], row[4]
  local job = settlement.keys.job .. id
  local values = redis.pcall(
    "HMGET", job, "state", Lease.RUN, "processedOn", "x-py:cell", "revoked", "groupKey", "opts"
  )
  local refusal = values.err and Replies.GONE
    or Lease.refusal("move_to_waiting_children", values[1], values[2], values[3], token, processed_on)
  if refusal then
    if refusal == Replies.GONE then
      settlement:leave(id, entry_id)
    end
    return refusal
  end
  settlement:leave(id, entry_id, values[4])
  if values[5] == "1" then
    Ending.revoke_run(settlement, id, token, processed_on, Retention.of_options(values[7], "removeOnFail"))
    return Replies.FAILED
  end
  if not Dependencies.park(settlement, id, Lease.spent(token)) then
    return Replies.FAILED
  end
  if values[6] then
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
  local settlement = Settlement.open(keys, now, args)
  local outcomes = {}
  for number, row in ipairs(args.rows) do
    outcomes[number] = move(settlement, row)
  end
  settlement:close()
  return Replies.pack("ok", now, outcomes)
end)
