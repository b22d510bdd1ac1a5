-- get_usage_buckets: what a queue's jobs have used in a span of minutes, so many minutes a call.
-- Moves:  nothing
-- Keys:   usage:<minute>
-- Args:   first, last (the starts of minutes, epoch ms, inclusive)
-- Reply:  {"ok", [field, value, ...] (the sum of the minutes read; see UsageBuckets.read), next minute or -1}
-- Errors: bad_argument
-- Events: none
local SPEC = { first = "number", last = "number" }

-- About 1 us each while they are empty, as most are.
local MINUTES_AT_ONCE = 1000

Library.command("get_usage_buckets", { "no-writes" }, SPEC, function(keys, args)
  local minute = UsageBuckets.MINUTE
  local first = args.first - args.first % minute
  local last = math.min(args.last, first + (MINUTES_AT_ONCE - 1) * minute)
  local following = last + minute - last % minute
  return Replies.pack("ok", UsageBuckets.read(keys, first, last), following <= args.last and following or -1)
end)
