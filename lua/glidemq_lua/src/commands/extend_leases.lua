-- extend_leases: the heartbeat of jobs in hand. It renews what the caller holds and never takes anything.
-- Moves:  nothing
-- Keys:   job, x-py:active, x-py:short-lock
-- Args:   rows [[id, token, processed_on]], lock_ms (the shortest lock that one of them has of its own; absent if none)
-- Reply:  ["ok", now_ms, [code], [[row, force_in_ms]]]; 1 extended, 7 extended but revoked, 2 the outcome is recorded
--         already; for rows (the first is 1) whose run is to be ended by force: in how many ms
-- Errors: bad_argument; per row gone, lease_lost
-- Events: none

-- The code, and for a revoked run when it is to be ended by force.
local function extend(keys, now, row)
  local id, token, processed_on = row[1], row[2], row[3]
  local job = keys.job .. id
  local values = redis.pcall("HMGET", job, "state", Lease.RUN, "processedOn", "revoked", "x-py:cell", Revocations.FORCE_AT)
  local refusal = values.err and Replies.GONE
    or Lease.refusal("renew", values[1], values[2], values[3], token, processed_on)
  if refusal then
    return refusal
  end
  redis.call("HSET", job, "lastActive", now)
  if values[5] then
    Active.touch(keys, values[5], id, now)
  end
  if values[4] == "1" then
    return Replies.REVOKED, tonumber(values[6])
  end
  return Replies.ACCEPTED
end

local ROW = { "string", "string", "number" }

Library.command("extend_leases", { "allow-oom" }, { rows = "table", lock_ms = "?number" }, function(keys, args, now)
  local fault = Arguments.row_fault(args.rows, ROW)
  if fault then
    return Replies.bad_argument(fault)
  end
  if args.lock_ms then
    Lock.remember(keys, args.lock_ms)
  end
  local outcomes, forced = {}, {}
  for number, row in ipairs(args.rows) do
    local code, force_at = extend(keys, now, row)
    outcomes[number] = code
    if force_at then
      forced[#forced + 1] = { number, math.max(force_at - now, 0) }
    end
  end
  return Replies.pack("ok", now, outcomes, forced)
end)
