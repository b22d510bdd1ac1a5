-- hear_budgets: statements of jobs of other queues to budgets of flows whose roots are in this one. Hearing something
-- twice changes nothing.
-- Moves:  delayed -> waiting (the jobs of this queue that a budget has room for again)
-- Keys:   budget, x-py:budget, x-py:budget-flying, x-py:budget-waiting, x-py:budget-paused, x-py:outbox; job, scheduled,
--         stream, priority, lifo, bell, events
-- Args:   rows [[flow, member of the job, version, what, stated, usage, parents]], as Budget.hear describes them; events
-- Reply:  ["ok", posted]; 1 when there are letters now, answers above all: see read_outbox
-- Errors: bad_argument
-- Events: promoted
local ROW = { "string", "string", "number", "string", "any", "any" }
local SAID = { ask = true, use = true, ["end"] = true, ["return"] = true }
local USAGE = { born = "number", tokens = "table", total_tokens = "number", costs = "table", total_cost = "number" }

local function fault_of(row)
  if not SAID[row[4]] then
    return "nobody knows what " .. row[4] .. " means"
  elseif row[6] and type(row[6]) ~= "table" then
    return "the usage must be a table"
  elseif row[7] and type(row[7]) ~= "table" then
    return "the parents must be an array"
  end
  return Estimate.fault(row[5]) or row[6] and Arguments.fault(row[6], Arguments.checks(USAGE))
end

Library.command("hear_budgets", { "allow-oom" }, { rows = "table" }, function(keys, args, now)
  local fault = Arguments.row_fault(args.rows, ROW, fault_of)
  if fault then
    return Replies.bad_argument(fault)
  end
  local settlement = Settlement.open(keys, now, args)
  for _, row in ipairs(args.rows) do
    local flow, member, version, what = row[1], row[2], row[3], row[4]
    local verdict = Budget.hear(settlement, flow, member, version, what, row[5], row[6], row[7])
    local prefix, id = Keys.split_member(member)
    if what == "ask" and verdict and prefix then
      Outbox.post(settlement, Budget.ANSWER, prefix, cmsgpack.pack({ id, version, verdict }))
    end
  end
  settlement:close()
  return Replies.pack("ok", settlement.posted and 1 or 0)
end)
