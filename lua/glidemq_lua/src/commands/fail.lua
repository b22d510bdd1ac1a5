-- fail: runs that failed - another try later, or the end. One of a revoked job ends it, with the reason `revoked`.
-- Moves:  active -> delayed (retry, or put off), waiting (retry without delay), failed
-- Keys:   job, stream, scheduled, lifo, list-active, failed, events, metrics, bell, meta, x-py:active,
--         x-py:dead-letters; those of removed jobs
-- Args:   rows [[id, token, processed_on, entry_id, reason, max_attempts, delay_ms, retain, error, kinds]], events,
--         metrics
--         kinds: the names of the error's classes; absent unless the job's next fallback depends on them
--         max_attempts below 0: nothing failed, the job is put off for delay_ms, and no attempt is charged; only the event
--         `retrying` tells the reason
--         error: the name of what was raised, for the dead letter queue; may be absent
-- Reply:  ["ok", now_ms, [[code, attempts_made]], next_due_ms, posted]; 5 retrying, 6 failed, 9 put off; the queue's next
--         due time, or -1; posted is 1 when another queue must hear of something, see read_outbox
-- Errors: bad_argument; per row already, gone, lease_lost
-- Events: retrying, promoted, failed

local function retry_at_once(settlement, id, name, lifo)
  local keys = settlement.keys
  States.enter(keys, id, "waiting")
  if lifo == "1" then
    redis.call("RPUSH", keys.lifo, id)
    settlement.rings = true
  else
    Ready.append(keys, id, name)
  end
  settlement:event("promoted", id)
end

local function retry(settlement, id, reason, delay_ms, attempts_made, fields)
  local keys, now = settlement.keys, settlement.now
  local job = keys.job .. id
  Retry.move_on(job, fields.opts, type(fields.kinds) == "table" and fields.kinds)
  settlement:event("retrying", id, "failedReason", reason, "attemptsMade", attempts_made, "delay", delay_ms)
  -- A prioritized job keeps its place in the order of priorities even without a delay: step promotes it.
  if delay_ms <= 0 and fields.priority == 0 then
    retry_at_once(settlement, id, fields.name, fields.lifo)
    return
  end
  States.enter(keys, id, "delayed")
  Delayed.add(keys, id, fields.priority, now + delay_ms)
end

local function fail(settlement, row)
  local id, token, processed_on, entry_id, reason, max_attempts, delay_ms, policy, error = unpack(row, 1, 9)
  local keys, now = settlement.keys, settlement.now
  local job = keys.job .. id
  local values, refusal =
    Run.read(settlement, "fail", row, "attemptsMade", "priority", "lifo", "opts", "name", "groupKey")
  local attempts_made, priority, lifo, opts, name, group_key = unpack(values, Run.FIRST, Run.FIRST + 5)
  attempts_made = tonumber(attempts_made) or 0
  if refusal then
    return { refusal, attempts_made }
  end
  settlement:leave(id, entry_id, values[Run.CELL])
  if values[Run.REVOKED] == "1" then
    return { Replies.FAILED, Ending.revoke_run(settlement, id, token, processed_on, policy) }
  end
  local fields = { priority = tonumber(priority) or 0, lifo = lifo, opts = opts, name = name, kinds = row[10] }
  local put_off = max_attempts < 0
  if not put_off then
    attempts_made = redis.call("HINCRBY", job, "attemptsMade", 1)
  end
  if not put_off and not Retry.is_left(DeadLetters.most_attempts(settlement, max_attempts), attempts_made) then
    Ending.fail_attempt(settlement, id, reason, processed_on, policy, token, error or "")
    return { Replies.FAILED, attempts_made }
  end
  redis.call(
    "HSET", job, "processedOn", now, Ending.STARTED, Ending.started(now, processed_on), Lease.RUN, Lease.spent(token)
  )
  if put_off then
    fields.opts = false -- the chain of fallbacks moves on by failures
    Restarts.count(keys, id)
  else
    redis.call("HSET", job, "failedReason", reason)
  end
  if group_key then
    Turns.step_back(settlement, id)
  end
  retry(settlement, id, reason, delay_ms, attempts_made, fields)
  return { put_off and Replies.PUT_OFF or Replies.RETRYING, attempts_made }
end

local ROW = { "string", "string", "number", "string", "string", "number", "number", "any", "any" }

Library.command("fail", { "allow-oom" }, { rows = "table" }, function(keys, args, now)
  local fault = Arguments.row_fault(args.rows, ROW)
  if fault then
    return Replies.bad_argument(fault)
  end
  local outcomes, settlement = Run.settle_all(keys, args, now, fail)
  local next_due = Promotion.next_due(settlement)
  if settlement.rings then
    Ready.ring(keys)
  end
  return Replies.pack("ok", now, outcomes, next_due, settlement.posted and 1 or 0)
end)
