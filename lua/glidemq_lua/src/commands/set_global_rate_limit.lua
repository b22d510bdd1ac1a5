-- set_global_rate_limit: let at most `max` jobs of the queue start per window, on all workers together; or no longer.
-- Moves:  nothing
-- Keys:   meta, bell
-- Args:   max, duration_ms (both false: no limit)
-- Reply:  ["ok"]
-- Errors: bad_argument
-- Events: none
local SPEC = { max = "?number", duration_ms = "?number" }

Library.command("set_global_rate_limit", { "allow-oom" }, SPEC, function(keys, args)
  if args.max or args.duration_ms then
    local fault = Limits.fault(args)
    if fault then
      return Replies.bad_argument(fault)
    end
    redis.call("HSET", keys.meta, "rateLimitMax", args.max, "rateLimitDuration", args.duration_ms)
  else
    redis.call("HDEL", keys.meta, "rateLimitMax", "rateLimitDuration")
  end
  Ready.ring(keys)
  return Replies.pack("ok")
end)
