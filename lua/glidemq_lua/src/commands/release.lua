-- release: give jobs back that never started, or whose process ended. No attempt is charged.
-- Moves:  active -> waiting; active -> failed (crashed too often, or revoked)
-- Keys:   job, stream, priority, lifo, list-active, failed, events, metrics, rate, bell, x-py:active
-- Args:   consumer, rows [[id, token, processed_on, entry_id, crash]], max_crashes, tail, limiter, events, metrics
--         crash: false (never started), true (suspect: started in a process that died with several jobs), the name of
--         the signal that killed the process while only this job ran, or "" (started, and ended on purpose)
-- Reply:  ["ok", now_ms, [code]]
-- Errors: bad_argument; per row already, gone, lease_lost
-- Events: failed

local function reason_of(signal, crashes)
  return "worker process killed by " .. signal .. " " .. crashes .. (crashes == 1 and " time" or " times")
end

local ON_PURPOSE = ""

-- Counts a crash and returns the number so far, or nil for a job that caused none. The field alone, even at 0,
-- makes a job run with no other beside it.
local function count_crash(job, crash)
  if crash == true then
    redis.call("HSETNX", job, "x-py:crashes", 0)
  elseif crash and crash ~= ON_PURPOSE then
    return redis.call("HINCRBY", job, "x-py:crashes", 1)
  end
  return nil
end

local function release(settlement, back, args, row, unstarted)
  local id, token, processed_on, entry_id, crash = row[1], row[2], row[3], row[4], row[5]
  local values, refusal = Run.read(settlement, "release", row, "lifo", "name", "opts", "groupKey", "cost")
  if refusal then
    return refusal
  end
  local lifo, name, opts, group_key, cost = unpack(values, Run.FIRST, Run.FIRST + 4)
  local cell = values[Run.CELL]
  if not crash then
    unstarted[#unstarted + 1] = processed_on
    Turns.take_back_start(settlement, group_key, cost, processed_on)
  end
  if values[Run.REVOKED] == "1" then
    settlement:leave(id, entry_id, cell)
    Run.revoke(settlement, row)
    return Replies.FAILED
  end
  local crashes = count_crash(settlement.keys.job .. id, crash)
  if crashes and crashes >= args.max_crashes then
    settlement:leave(id, entry_id, cell)
    local policy = Retention.of_options(opts, "removeOnFail")
    Ending.fail(settlement, id, reason_of(crash, crashes), processed_on, policy, Lease.RUN, Lease.spent(token))
    return Replies.FAILED
  end
  if crash and not crashes then
    Restarts.count(settlement.keys, id)
  end
  back:add(id, entry_id, Lease.spent(token), { lifo = lifo, name = name, cell = cell }, args.tail)
  return Replies.ACCEPTED
end

local SPEC = { consumer = "string", rows = "table", max_crashes = "number", limiter = "?table" }
local ROW = { "string", "string", "number", "string", "any" }

Library.command("release", { "allow-oom" }, SPEC, function(keys, args, now)
  local fault = Arguments.row_fault(args.rows, ROW) or Limits.fault(args.limiter)
  if fault then
    return Replies.bad_argument(fault)
  end
  local settlement = Settlement.open(keys, now, args)
  local back = GivingBack.open(settlement)
  local outcomes, unstarted = {}, {}
  for number, row in ipairs(args.rows) do
    outcomes[number] = release(settlement, back, args, row, unstarted)
  end
  if Limits.rate(keys, args.limiter) then
    Rate.refund(keys, unstarted)
  end
  settlement:close()
  back:close()
  return Replies.pack("ok", now, outcomes)
end)
