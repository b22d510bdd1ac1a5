-- get_revocations: which running jobs were revoked since a time, of the last minute; the rest is told by extend_leases.
-- Moves:  nothing
-- Keys:   x-py:revocations
-- Args:   since_ms
-- Reply:  ["ok", now_ms, [id]], at most 10,000, oldest first
-- Errors: bad_argument
-- Events: none
local LIMIT = 10000

Library.command("get_revocations", { "no-writes" }, { since_ms = "number" }, function(keys, args, now)
  return Replies.pack("ok", now, Revocations.since(keys, args.since_ms, LIMIT))
end)
