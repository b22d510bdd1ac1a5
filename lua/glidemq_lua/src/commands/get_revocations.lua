-- get_revocations: which running jobs were revoked since a time, of the last minute; the rest is told by extend_leases.
-- A Node client announces nothing, it marks the job: so the caller's own jobs are looked at as well.
-- Moves:  nothing
-- Keys:   job, x-py:revocations
-- Args:   since_ms, running [id] (at most 1,000; absent: none are looked at)
-- Reply:  ["ok", now_ms, [id]], at most 10,000 that were announced, oldest first, then those that are marked; an id may
--         be told twice
-- Errors: bad_argument
-- Events: none
local LIMIT = 10000
local MOST_RUNNING = 1000

local SPEC = { since_ms = "number", running = "?table" }

Library.command("get_revocations", { "no-writes" }, SPEC, function(keys, args, now)
  local running = args.running or {}
  if #running > MOST_RUNNING then
    return Replies.bad_argument("at most " .. MOST_RUNNING .. " running jobs a call")
  end
  local ids = Revocations.since(keys, args.since_ms, LIMIT)
  for _, id in ipairs(running) do
    if type(id) ~= "string" then
      return Replies.bad_argument("running must hold ids")
    end
    if redis.pcall("HGET", keys.job .. id, "revoked") == "1" then
      ids[#ids + 1] = id
    end
  end
  return Replies.pack("ok", now, ids)
end)
