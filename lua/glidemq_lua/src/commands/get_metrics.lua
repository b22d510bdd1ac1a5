-- get_metrics: how many jobs finished in each minute of the last day, and how long they ran.
-- Moves:  nothing
-- Keys:   metrics:completed or metrics:failed, completed or failed
-- Args:   kind (completed or failed)
-- Reply:  ["ok", jobs kept in this state, [[minute_ms, count, duration_ms]]], in no order; the duration is a sum
-- Errors: bad_argument
-- Events: none
Library.command("get_metrics", { "no-writes" }, { kind = "string" }, function(keys, args, now)
  if args.kind ~= "completed" and args.kind ~= "failed" then
    return Replies.bad_argument("kind must be completed or failed")
  end
  local minutes = Metrics.of_last_day(keys["metrics_" .. args.kind], now)
  return Replies.pack("ok", redis.call("ZCARD", keys[args.kind]), minutes)
end)
