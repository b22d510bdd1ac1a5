-- subscribe: announce a worker of a broadcast's subscription, or keep it announced, and create the subscription.
-- Moves:  nothing
-- Keys:   stream, w:<consumer>, x-py:workers
-- Args:   consumer, subscription, start_from ("$", or the entry id after which a new subscription starts), info_json,
--         ttl_ms
-- Reply:  ["ok"] | ["refused", the server's text]: start_from is no entry id
-- Errors: bad_argument
-- Events: none
local SPEC = {
  consumer = "string", subscription = "string", start_from = "string", info_json = "string", ttl_ms = "number",
}

Library.command("subscribe", { "allow-oom" }, SPEC, function(keys, args, now)
  local fault = Subscriptions.create(keys, args.subscription, args.start_from)
  if fault then
    return Replies.pack("refused", fault)
  end
  Membership.refresh(keys, args.consumer, args.info_json, args.ttl_ms, now)
  return Replies.pack("ok")
end)
