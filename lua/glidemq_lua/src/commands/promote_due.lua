-- promote_due: make due jobs ready, and those of groups whose limits let them go, and tell when to come back.
-- Moves:  delayed, prioritized, group-waiting -> waiting; delayed, prioritized -> failed (expired); group-waiting ->
--         failed (expired, too dear); suspended -> failed (its time is over)
-- Keys:   scheduled, job, stream, priority, lifo, failed, events, metrics, bell, ratelimited, suspended, ordering, group, groupq
-- Args:   limit, prioritized_limit, events
-- Reply:  ["ok", promoted, expired, next_due_ms]; -1: nothing scheduled; not after now: call again. The numbers are
--         those of delayed and prioritized jobs.
-- Errors: bad_argument
-- Events: promoted, expired, failed

-- All priorities there are, and the class without one.
local MAX_CLASSES = 2049
local MOST = 1000

local SPEC = { limit = "number", prioritized_limit = "number" }

Library.command("promote_due", { "allow-oom" }, SPEC, function(keys, args, now)
  local settlement = Settlement.open(keys, now, args)
  local limit, prioritized_limit = math.min(args.limit, MOST), math.min(args.prioritized_limit, MOST)
  Groups.promote_due(settlement)
  Suspension.expire_due(settlement)
  Vectors.look_around(keys)
  local result = Promotion.run(settlement, limit, prioritized_limit, MAX_CLASSES)
  settlement:close()
  local next_due = Promotion.earliest(settlement, result.next_due)
  if result.wrote_list then
    Ready.ring(keys)
  end
  return Replies.pack("ok", result.promoted, result.expired, next_due)
end)
