-- update_budget: change what the jobs of a flow may use. Those that are paused or wait ask again at once.
-- Moves:  delayed -> waiting
-- Keys:   budget, x-py:budget, x-py:budget-waiting, x-py:budget-paused, x-py:outbox; job, scheduled, stream, priority,
--         lifo, bell, events
-- Args:   flow (the id of its root), set [field, value, ...], unset [field], limit (jobs to let ask), events
-- Reply:  ["ok", how many paused jobs are left: call again, with nothing to set] | ["missing"]
-- Errors: bad_argument
-- Events: promoted
local SPEC = { flow = "string", set = "table", unset = "table", limit = "number" }
local FIELDS = {
  maxTotalTokens = true, maxTokens = true, tokenWeights = true, maxTotalCost = true, maxCosts = true, costUnit = true,
  onExceeded = true,
}

local function fault_of(args)
  if #args.set % 2 ~= 0 then
    return "set must hold pairs"
  end
  for index = 1, #args.set, 2 do
    if not FIELDS[args.set[index]] or type(args.set[index + 1]) ~= "string" then
      return "set must hold limits as texts"
    end
  end
  for _, field in ipairs(args.unset) do
    if not FIELDS[field] then
      return "unset must hold names of limits"
    end
  end
  return nil
end

Library.command("update_budget", {}, SPEC, function(keys, args, now)
  local fault = fault_of(args)
  if fault then
    return Replies.bad_argument(fault)
  end
  local settlement = Settlement.open(keys, now, args)
  local limit = math.max(math.min(args.limit, 500), 1)
  local left = Budget.update(settlement, args.flow, args.set, args.unset, limit)
  settlement:close()
  if not left then
    return Replies.pack("missing")
  end
  return Replies.pack("ok", left)
end)
