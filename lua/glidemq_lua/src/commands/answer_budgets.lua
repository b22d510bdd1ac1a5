-- answer_budgets: what budgets of flows in other queues have answered to jobs of this one. Hearing something twice
-- changes nothing.
-- Moves:  delayed -> waiting (it may start, or ask again), failed (the budget is exceeded)
-- Keys:   job, x-py:allowances, scheduled, stream, priority, lifo, bell, failed, events, metrics, x-py:outbox; those of
--         removed jobs
-- Args:   rows [[id, version of its question or of its last one, granted, free, wait, fail, pause or again]], events, metrics
-- Reply:  ["ok", posted, [[id, flow]]]; 1 when another queue must hear of something, see read_outbox; who is refused
-- Errors: bad_argument
-- Events: promoted, budget-exceeded {flowId, onExceeded}, failed, delay-changed
local ROW = { "string", "number", "string" }
local KNOWN = { granted = true, free = true, wait = true, fail = true, pause = true, again = true }

local function fault_of(row)
  return not KNOWN[row[3]] and "nobody knows what " .. row[3] .. " means"
end

Library.command("answer_budgets", { "allow-oom" }, { rows = "table" }, function(keys, args, now)
  local fault = Arguments.row_fault(args.rows, ROW, fault_of)
  if fault then
    return Replies.bad_argument(fault)
  end
  local settlement = Settlement.open(keys, now, args)
  for _, row in ipairs(args.rows) do
    Allowance.answer(settlement, row[1], row[2], row[3])
  end
  settlement:close()
  return Replies.pack("ok", settlement.posted and 1 or 0, settlement.refused)
end)
