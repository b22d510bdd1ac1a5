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
  local job = settlement.keys.job .. id
  local values = redis.pcall(
    "HMGET", job, "state", Lease.RUN, "processedOn", "groupKey", "orderingSeq", "x-py:cell",
    "revoked"
  )
  local refusal = values.err and Replies.GONE
    or Lease.refusal("rate_limit_group", values[1], values[2], values[3], token, processed_on)
  if refusal then
    if refusal == Replies.GONE then
      settlement:leave(id, entry_id)
    end
    local group = refusal == Replies.ALREADY and values[4] and Group.of(settlement, values[4])
    return { refusal, group and group:is_paused() and group.resume_at or 0 }
  elseif not values[4] or values[4] == "" then
    return { Replies.NO_GROUP, 0 }
  end
  settlement:leave(id, entry_id, values[6])
  local group = Group.of(settlement, values[4])
  local resume_at = group:pause(duration_ms, extend)
  settlement:event(
    "group-rate-limited", id, "groupKey", group.key, "duration", duration_ms, "resumeAt", resume_at
  )
  local revoked = values[7] == "1"
  if revoked or current == "fail" then
    local policy = Retention.of_options(redis.call("HGET", job, "opts"), "removeOnFail")
    if revoked then
      Ending.revoke_run(settlement, id, token, processed_on, policy)
      return { Replies.FAILED, resume_at }
    end
    Ending.fail(settlement, id, REASON, processed_on, policy, Lease.RUN, Lease.spent(token))
  else
    Parking.park_running(settlement, group, id, Group.sequence(values[5]), position, Lease.spent(token))
  end
  return { Replies.ACCEPTED, resume_at }
end

local ROW = { "string", "string", "number", "string", "number", "string", "string", "string" }

local function fault_of(rows)
  local fault = Arguments.row_fault(rows, ROW)
  for number = 1, fault and 0 or #rows do
    local row = rows[number]
    if row[5] <= 0 or not Delayed.fits(row[5]) then
      return "row " .. number .. ": duration_ms is out of range"
    elseif not (CURRENT[row[6]] and POSITIONS[row[7]] and EXTEND[row[8]]) then
      return "row " .. number .. ": current, position or extend is unknown"
    end
  end
  return fault
end

Library.command("rate_limit_group", { "allow-oom" }, { rows = "table" }, function(keys, args, now)
  local fault = fault_of(args.rows)
  if fault then
    return Replies.bad_argument(fault)
  end
  local settlement = Settlement.open(keys, now, args)
  local outcomes = {}
  for number, row in ipairs(args.rows) do
    outcomes[number] = pause(settlement, row)
  end
  settlement:close()
  return Replies.pack("ok", now, outcomes, Promotion.next_due(settlement))
end)
