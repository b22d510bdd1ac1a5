-- register_worker: announce a worker, or keep it announced, and create the groups that its blocking reads need.
-- Moves:  nothing
-- Keys:   w:<consumer>, x-py:workers, stream, x-py:bell, meta
-- Args:   consumer, info_json ({"addr", "pid", "startedAt", "activeJobs"}, what dashboards show), ttl_ms,
--         dead_letters [name, max_retries or false]: the dead letter queue that the worker names, if it does
-- Reply:  {"ok"}
-- Errors: bad_argument
-- Events: none
local SPEC = { consumer = "string", info_json = "string", ttl_ms = "number", dead_letters = "?table" }

Library.command("register_worker", { "allow-oom" }, SPEC, function(keys, args, now)
  local fault = args.dead_letters and DeadLetters.fault(keys, args.dead_letters)
  if fault then
    return Replies.bad_argument(fault)
  elseif args.dead_letters then
    DeadLetters.configure(keys, args.dead_letters)
  end
  Ready.ensure_group(keys)
  redis.pcall("XGROUP", "CREATE", keys.bell, Ready.GROUP, "0", "MKSTREAM")
  Membership.refresh(keys, args.consumer, args.info_json, args.ttl_ms, now)
  return Replies.pack("ok")
end)
