-- extend_deliveries: the heartbeat of a subscription's messages in hand. A pending entry that is claimed is not idle,
-- which is what tells the live from the dead, for Node too.
-- Moves:  nothing
-- Keys:   stream, job, job:<id>:sub:<subscription>
-- Args:   consumer, subscription, rows [[id, token, entry_id]]
-- Reply:  ["ok", [code]]; 1 extended, 7 extended but revoked
-- Errors: bad_argument; per row gone, lease_lost
-- Events: none

local function extend(keys, args, now, row)
  local id, token, entry_id = row[1], row[2], row[3]
  local refusal = Subscriptions.refusal(keys, id, args.subscription, token)
  if refusal then
    return refusal
  end
  redis.pcall("XCLAIM", keys.stream, args.subscription, args.consumer, 0, entry_id, "JUSTID")
  redis.call("HSET", keys.job .. id, "lastActive", now)
  return redis.call("HGET", keys.job .. id, "revoked") == "1" and Replies.REVOKED or Replies.ACCEPTED
end

local SPEC = { consumer = "string", subscription = "string", rows = "table" }

Library.command("extend_deliveries", { "allow-oom" }, SPEC, function(keys, args, now)
  local fault = Arguments.row_fault(args.rows, { "string", "string", "string" })
  if fault then
    return Replies.bad_argument(fault)
  end
  local codes = {}
  for number, row in ipairs(args.rows) do
    codes[number] = extend(keys, args, now, row)
  end
  return Replies.pack("ok", codes)
end)
