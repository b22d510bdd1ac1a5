-- finish_deliveries: what became of a subscription's runs. Each outcome counts once, by its token.
-- Moves:  active -> completed, failed, or delayed (a retry for this subscription alone)
-- Keys:   stream, job, job:<id>:sub:<subscription>, scheduled, completed, failed, events, metrics
-- Args:   subscription, completed [[id, token, processed_on, entry_id, returnvalue, retain]], failed [[id, token,
--         processed_on, entry_id, reason, max_attempts, delay_ms, retain]], events, metrics; what to retain is ignored:
--         other subscriptions may not have got the message yet; max_attempts below 0: put off, see fail
-- Reply:  ["ok", now_ms, [code], [[code, attempts]]]: 1 completed; 5 tries again, 6 failed, 9 put off
-- Errors: bad_argument; per row gone, lease_lost
-- Events: completed, retrying, failed

local function complete(settlement, subscription, row)
  local id, token, processed_on, entry_id, value = row[1], row[2], row[3], row[4], row[5]
  local keys, now = settlement.keys, settlement.now
  local refusal = Subscriptions.refusal(keys, id, subscription, token)
  if refusal then
    return refusal
  end
  Subscriptions.finish(keys, id, subscription, entry_id)
  States.enter(keys, id, "completed", "returnvalue", value, "finishedOn", now)
  settlement:event("completed", id, "returnvalue", value)
  settlement:complete(id, math.max(now - processed_on, 0), false)
  return Replies.ACCEPTED
end

local function fail(settlement, subscription, row)
  local id, token, processed_on, entry_id, reason, max_attempts, delay_ms = unpack(row, 1, 7)
  local keys, now = settlement.keys, settlement.now
  local refusal = Subscriptions.refusal(keys, id, subscription, token)
  if refusal then
    return { refusal, 0 }
  end
  Subscriptions.finish(keys, id, subscription, entry_id)
  local put_off = max_attempts < 0
  local attempts = Subscriptions.count_failure(keys, id, subscription, put_off and 0 or 1)
  local revoked = redis.call("HGET", keys.job .. id, "revoked") == "1"
  if revoked or not (put_off or Retry.is_left(max_attempts, attempts)) then
    Ending.fail(settlement, id, revoked and Ending.REVOKED or reason, processed_on, false, "processedOn", now)
    return { Replies.FAILED, attempts }
  end
  States.enter(keys, id, "delayed", "processedOn", now)
  if not put_off then
    redis.call("HSET", keys.job .. id, "failedReason", reason)
  end
  Delayed.add(keys, Subscriptions.retry_member(id, subscription), 0, now + delay_ms)
  settlement:event("retrying", id, "failedReason", reason, "attemptsMade", attempts, "delay", delay_ms)
  return { put_off and Replies.PUT_OFF or Replies.RETRYING, attempts }
end

local SPEC = { subscription = "string", completed = "table", failed = "table" }
local COMPLETED = { "string", "string", "number", "string", "string" }
local FAILED = { "string", "string", "number", "string", "string", "number", "number" }

Library.command("finish_deliveries", { "allow-oom" }, SPEC, function(keys, args, now)
  local fault = Arguments.row_fault(args.completed, COMPLETED) or Arguments.row_fault(args.failed, FAILED)
  if fault then
    return Replies.bad_argument(fault)
  end
  local settlement = Settlement.open(keys, now, args)
  local completed, failed = {}, {}
  for number, row in ipairs(args.completed) do
    completed[number] = complete(settlement, args.subscription, row)
  end
  for number, row in ipairs(args.failed) do
    failed[number] = fail(settlement, args.subscription, row)
  end
  settlement:close()
  return Replies.pack("ok", now, completed, failed)
end)
