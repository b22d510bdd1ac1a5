-- hear_children: news of jobs of other queues that ended, for their parents in this one. Hearing something twice changes
-- nothing.
-- Moves:  waiting-children -> waiting or prioritized (that was the last child, or the parent is not to wait for the
--         others), failed
-- Keys:   job, deps, parents, stream, scheduled, lifo, bell, failed, events, metrics, ordering, group, groupq, x-py:parents,
--         x-py:outbox; those of removed jobs
-- Args:   rows [[parent_id, member of the child, what, text]], events, metrics
--         what and text: completed, with the return value if the child's own hash does not last, else false; or what
--         the child's failure means: fail_parent, ignore, remove or continue, with the reason; or missing, when nobody
--         finds it: said again after a minute, it is a failure
-- Reply:  ["ok", posted]; 1 when yet another queue must hear of something, see read_outbox
-- Errors: bad_argument
-- Events: active (of a parent that runs again), failed
local ROW = { "string", "string", "string", "?string" }

local function fault_of(row)
  if not Dependencies.knows(row[3]) then
    return "nobody knows what " .. row[3] .. " means"
  elseif row[3] ~= "completed" and row[3] ~= "missing" and not row[4] then
    return "the reason is missing"
  end
  return nil
end

Library.command("hear_children", { "allow-oom" }, { rows = "table" }, function(keys, args, now)
  local fault = Arguments.row_fault(args.rows, ROW, fault_of)
  if fault then
    return Replies.bad_argument(fault)
  end
  local settlement = Settlement.open(keys, now, args)
  for _, row in ipairs(args.rows) do
    Dependencies.hear(settlement, row[1], row[2], row[3], row[4])
  end
  settlement:close()
  return Replies.pack("ok", settlement.posted and 1 or 0)
end)
