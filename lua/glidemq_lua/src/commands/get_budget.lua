-- get_budget: what the jobs of a flow may use, have used and have reserved.
-- Moves:  nothing
-- Keys:   budget, x-py:budget
-- Args:   flow (the id of its root)
-- Reply:  ["ok", [field, value, ...], [counter, what is reserved of it, ...]] | ["missing"]
-- Errors: bad_argument
-- Events: none
Library.command("get_budget", { "no-writes" }, { flow = "string" }, function(keys, args)
  local fields, reserved = Budget.read(keys, args.flow)
  if not fields then
    return Replies.pack("missing")
  end
  return Replies.pack("ok", fields, reserved)
end)
