-- rate_limit_group: running jobs ask for a pause of their group. Each is parked, uncharged, or fails for good.
-- Moves:  active -> group-waiting; active -> failed (on demand, or revoked)
-- Keys:   job, stream, list-active, ratelimited, ordering, group, groupq, failed, events, metrics, x-py:active; those of
--         removed jobs
-- Args:   rows [[id, token, processed_on, entry_id, duration_ms, current, position, extend]], events, metrics
--         current: "requeue" or "fail"; position: "front" or "back" of the parked jobs; extend: "max" keeps a pause that
--         goes further, "replace" does not
-- Reply:  ["ok", now_ms, [[code, resume_at_ms]], next_due_ms]; 1 parked, or failed on demand; 6 failed since it was
--         revoked; 8 the job has no group: nothing changed
--         resume_at_ms: when the group goes on, also for a row repeated; 0 for one that paused nothing
-- Errors: bad_argument; per row already, gone, lease_lost
-- Events: group-rate-limited {groupKey, duration, resumeAt}, failed

local REASON = "group rate limited"

local POSITIONS = { front = true, back = true }
local CURRENT = { requeue = true, fail = true }
local EXTEND = { max = true, replace = true }

local function pause(settlement, row)
  local id, token, processed_on, entry_id, duration_ms, current, position, extend = unpack(row, 1, 8)
  local values, refusal = Run.read(settlement, "rate_limit_group", row, "groupKey", "orderingSeq", "opts")
  local group_key, sequence, opts = unpack(values, Run.FIRST, Run.FIRST + 2)
  if refusal then
    local group = refusal == Replies.ALREADY and group_key and Group.of(settlement, group_key)
    return { refusal, group and group:is_paused() and group.resume_at or 0 }
  elseif not group_key or group_key == "" then
    return { Replies.NO_GROUP, 0 }
  end
  settlement:leave(id, entry_id, values[Run.CELL])
  local group = Group.of(settlement, group_key)
  local resume_at = group:pause(duration_ms, extend)
  settlement:event(
    "group-rate-limited", id, "groupKey", group.key, "duration", duration_ms, "resumeAt", resume_at
  )
  if values[Run.REVOKED] == "1" then
    Run.revoke(settlement, row)
    return { Replies.FAILED, resume_at }
  elseif current == "fail" then
    local policy = Retention.of_options(opts, "removeOnFail")
    Ending.fail(settlement, id, REASON, processed_on, policy, Lease.RUN, Lease.spent(token))
  else
    Restarts.count(settlement.keys, id)
    Parking.park_running(settlement, group, id, Group.sequence(sequence), position, Lease.spent(token))
  end
  return { Replies.ACCEPTED, resume_at }
end

local ROW = { "string", "string", "number", "string", "number", "string", "string", "string" }

local function fault_of(row)
  if row[5] <= 0 or not Delayed.fits(row[5]) then
    return "duration_ms is out of range"
  elseif not (CURRENT[row[6]] and POSITIONS[row[7]] and EXTEND[row[8]]) then
    return "current, position or extend is unknown"
  end
  return nil
end

Library.command("rate_limit_group", { "allow-oom" }, { rows = "table" }, function(keys, args, now)
  local fault = Arguments.row_fault(args.rows, ROW, fault_of)
  if fault then
    return Replies.bad_argument(fault)
  end
  local outcomes, settlement = Run.settle_all(keys, args, now, pause)
  return Replies.pack("ok", now, outcomes, Promotion.next_due(settlement))
end)
