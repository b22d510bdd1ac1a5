-- register_worker: announce a worker, or keep it announced, and create the groups that its blocking reads need.
-- Moves:  nothing
-- Keys:   w:<consumer>, x-py:workers, stream, x-py:bell
-- Args:   consumer, info_json ({"addr", "pid", "startedAt", "activeJobs"}, what dashboards show), ttl_ms
-- Reply:  {"ok"}
-- Errors: bad_argument
-- Events: none
local SPEC = { consumer = "string", info_json = "string", ttl_ms = "number" }

Library.command("register_worker", { "allow-oom" }, SPEC, function(keys, args, now)
  Ready.ensure_group(keys)
  redis.pcall("XGROUP", "CREATE", keys.bell, Ready.GROUP, "0", "MKSTREAM")
  Membership.refresh(keys, args.consumer, args.info_json, args.ttl_ms, now)
  return Replies.pack("ok")
end)
