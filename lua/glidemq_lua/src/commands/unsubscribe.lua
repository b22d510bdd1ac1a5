-- unsubscribe: a worker of a subscription leaves. The subscription stays, and with it what it has not got yet.
-- Moves:  nothing
-- Keys:   stream, w:<consumer>, x-py:workers
-- Args:   consumer, subscription, left [[id or false, entry_id]] (claimed and not done: others take them at once)
-- Reply:  ["ok"]
-- Errors: bad_argument
-- Events: none
local SPEC = { consumer = "string", subscription = "string", left = "table" }

Library.command("unsubscribe", { "allow-oom" }, SPEC, function(keys, args, now)
  local fault = Arguments.row_fault(args.left, { "?string", "string" })
  if fault then
    return Replies.bad_argument(fault)
  end
  for _, row in ipairs(args.left) do
    Subscriptions.abandon(keys, args.subscription, args.consumer, row[1], row[2])
  end
  Membership.withdraw(keys, args.consumer, now)
  local pending = redis.pcall("XPENDING", keys.stream, args.subscription, "-", "+", 1, args.consumer)
  if not pending.err and #pending == 0 then
    redis.pcall("XGROUP", "DELCONSUMER", keys.stream, args.subscription, args.consumer)
  end
  return Replies.pack("ok")
end)
