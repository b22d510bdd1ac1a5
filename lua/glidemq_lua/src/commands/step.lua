-- step: one cycle of a queue - record what has completed, and start what comes next.
-- Moves:  active -> completed, or failed (revoked); waiting -> active, or group-waiting (its group does not let it);
--         delayed, prioritized -> waiting; waiting, group-waiting -> failed (expired, revoked, malformed, too dear);
--         group-waiting -> waiting; waiting-children -> waiting (a parent's last child completed), or failed (a child
--         did); suspended -> failed (its time is over)
-- Keys:   job, stream, bell, scheduled, priority, lifo, list-active, completed, failed, events, metrics, meta, rate, tpm,
--         ratelimited, suspended, ordering, group, groupq, x-py:active, x-py:cells, x-py:parents, x-py:outbox; log,
--         jstream, signals, deps, parents of removed jobs
-- Args:   consumer, cell, run, complete [[id, token, processed_on, entry_id, returnvalue, retain]], slots, ahead,
--         claimed [[entry_id, id]], rung [ring_id], limiter {max, duration_ms}, events, metrics, max_bytes,
--         tokens {max, duration_ms, default, names {name: estimate}, overtake, left, window, overrun, refund,
--         refund_window}; left: lent tokens of `window`, absent: they are counted here (see TokenGate); estimate: an
--         Estimate, of jobs that state none themselves
-- Reply:  ["ok", now_ms, [code], [[blob, id, token, entry_id, name, opts, processed_on, flags]],
--         [paused, next_due_ms, more, expired, quarantined, posted], and with `tokens` what TokenGate replies]
--         code: 1 completed; 6 failed, since it was revoked
--         more: 0 nothing is left, 1 ask again, 2 what is left may not start now and asking again would not help
--         next_due_ms: when to ask again: a job falls due, a group is let go, a suspended job's time is over, or with
--         more = 2 a window ends
--         after posted, if there are any: [[id, flow]] of those that the budgets of their flows have refused
--         posted: 1 when another queue must hear of something, see read_outbox
-- Errors: bad_argument; per row already, gone, lease_lost
-- Events: completed, promoted, expired, failed, active (of a woken parent)

-- Reads that yield nothing but ids to drop are repeated this often, then left to the next step; those of the stream
-- at least until so many entries were read, since a backlog may hold many jobs of one group.
local ROUNDS = 4
local ENTRIES = 100

-- Due jobs made ready although a limit keeps them from starting now; else each would be a reason to ask again at once.
local READY_BEYOND = 100

local function complete(settlement, row)
  local fields, code = Run.leave(
    settlement, "complete", row, "parentId", "parentQueue", "parentIds", "groupKey", JobStreams.MARK
  )
  if not fields then
    return code
  end
  local id, token, processed_on = row[1], row[2], row[3]
  local parent_id, parent_queue, parent_ids, group_key, chunks = unpack(fields, Run.FIRST, Run.FIRST + 4)
  local keys, now = settlement.keys, settlement.now
  States.enter(
    keys, id, "completed", "returnvalue", row[5], "finishedOn", now, Lease.RUN, Lease.spent(token)
  )
  JobStreams.ended(keys, id, chunks)
  settlement:event("completed", id, "returnvalue", row[5])
  settlement:complete(id, math.max(now - processed_on, 0), row[6])
  if group_key then
    Turns.completed(settlement, group_key)
  end
  if parent_id or parent_ids then
    News.completed(settlement, id, parent_id, parent_queue, parent_ids, row[6] and row[5])
  end
  return Replies.ACCEPTED
end

-- Entries that a blocking reader claimed and that still belong to a waiting job.
local function verify_claimed(settlement, args)
  local verified = {}
  for _, claim in ipairs(args.claimed) do
    local entry_id, id = claim[1], claim[2]
    local state = redis.pcall("HGET", settlement.keys.job .. id, "state")
    -- An active job is the echo of a call whose reply was lost: recover_orphans decides about it.
    if state ~= "active" and #Ready.claim(settlement.keys, args.consumer, { entry_id }) == 1 then
      verified[#verified + 1] = { entry_id, id }
    end
  end
  return verified
end

local function take_claimed(intake, claimed, held)
  for _, claim in ipairs(claimed) do
    local entry_id, id = claim[1], claim[2]
    local result = intake:offer(id, entry_id)
    if result == Intake.HELD then
      held[#held + 1] = entry_id
    elseif result == Intake.DROPPED then
      intake.settlement:leave(id, entry_id)
    end
  end
end

-- Jobs given back earlier, in their old order; those started now change hands.
local function take_returned(intake, consumer)
  local keys = intake.settlement.keys
  local started = {}
  local wants = intake:wants()
  if wants <= 0 then
    return false
  end
  local entries = Ready.read_pending(keys, Ready.RETURNED, wants, "0")
  for _, entry in ipairs(entries) do
    local id = Ready.job_id(entry[2])
    local result = id and intake:offer(id, entry[1]) or Intake.DROPPED
    if result == Intake.STARTED then
      started[#started + 1] = entry[1]
    elseif result ~= Intake.HELD then
      intake.settlement:leave(id, entry[1])
    end
  end
  if #started > 0 then
    Ready.claim(keys, consumer, started)
  end
  return #entries == wants
end

-- Returns true when the list may hold more that was not looked at.
local function take_list(intake, list)
  local keys = intake.settlement.keys
  for _ = 1, ROUNDS do
    local wants = intake:wants()
    if wants <= 0 then
      return true
    end
    local ids = redis.call("RPOP", list, wants) or {}
    local started, held = {}, {}
    for _, id in ipairs(ids) do
      local result = intake:offer(id, "")
      if result == Intake.STARTED then
        started[#started + 1] = id
      elseif result == Intake.HELD then
        held[#held + 1] = id
      end
    end
    Active.enter(keys, intake.cell, started, intake.settlement.now)
    Ready.push_back(keys, list, held)
    if #ids < wants or #held > 0 then
      return false
    end
  end
  return true
end

-- Returns true when the stream may hold more.
local function take_stream(intake, consumer, held)
  local keys = intake.settlement.keys
  local round, seen = 0, 0
  while round < ROUNDS or seen < ENTRIES do
    local wants = intake:wants()
    if wants <= 0 then
      return true
    end
    local entries = Ready.read_new(keys, consumer, wants)
    round, seen = round + 1, seen + #entries
    for _, entry in ipairs(entries) do
      local id = Ready.job_id(entry[2])
      local result = id and intake:offer(id, entry[1]) or Intake.DROPPED
      if not id then
        intake.quarantined = intake.quarantined + 1
      end
      if result == Intake.HELD then
        held[#held + 1] = entry[1]
      elseif result ~= Intake.STARTED then
        intake.settlement:leave(id, entry[1])
      end
    end
    if #entries < wants then
      return false
    end
  end
  return true
end

-- Prioritized jobs move to their list only as far as there are slots for them: whatever is more urgent and comes
-- later still goes first.
local function promote(settlement, wants, beyond)
  local prioritized = 0
  if wants > 0 then
    prioritized = math.max(wants - redis.call("LLEN", settlement.keys.priority), 0)
  end
  return Promotion.run(settlement, math.max(wants, beyond), prioritized, Promotion.FEW_CLASSES)
end

-- The prioritized jobs, most urgent first. For those that are dropped, as their group does not let them start, others are
-- promoted. Returns the promotion's result, and whether more may be left that was not looked at.
-- One that went to the other list is started from there first.
local function take_prioritized(intake)
  local settlement = intake.settlement
  local expired, dropped = 0, 0
  local promotion, left
  for _ = 1, ROUNDS do
    promotion = promote(settlement, intake:wants(), intake.limited and READY_BEYOND or 0)
    expired, dropped = expired + promotion.expired, dropped + promotion.dropped
    left = take_list(intake, settlement.keys.priority)
    if left or intake.held > 0 or not promotion.left_urgent or promotion.urgent_lifo then
      break
    end
    left = true
  end
  promotion.expired, promotion.dropped = expired, dropped
  return promotion, left
end

-- A call that took nothing and moved nothing, or all that a limit allows, would be repeated in vain.
local function what_is_left(intake, promotion, left)
  if not left then
    return Intake.NOTHING_LEFT
  elseif intake.limited and #intake.activations >= intake.places then
    return Intake.BLOCKED
  end
  local progress = #intake.activations + intake.dropped + promotion.expired + promotion.dropped
  return progress > 0 and Intake.MORE_LEFT or Intake.BLOCKED
end

-- Everything that may start, most urgent first: what was claimed came from the stream, and goes before its other
-- entries alone. Returns the promotion's result, what is left, and whether claimed entries are among it.
local function take_all(intake, args, claimed)
  local settlement = intake.settlement
  local keys = settlement.keys
  local held = {}
  local promotion, left = take_prioritized(intake)
  intake.shut = left or take_list(intake, keys.lifo)
  local more = take_returned(intake, args.consumer)
  take_claimed(intake, claimed, held)
  local claims_left = #held > 0
  local listed = false
  for _ = 1, ROUNDS do
    left = take_stream(intake, args.consumer, held) or listed
    if settlement:settle_groups() == 0 then
      break
    end
    -- Jobs that were parked stand in a list or in the stream now.
    listed, left = take_list(intake, keys.priority), true
  end
  left = left or more or intake.held > 0 or promotion.left
  Ready.give_back(keys, held)
  return promotion, what_is_left(intake, promotion, left), claims_left
end

-- What the queue's and the worker's limits leave of the places. Under a global concurrency, work ahead of free slots
-- takes places from hosts that could start it: no more than half of those that are left. Returns the rate limit's
-- window, if there is one.
local function apply_limits(intake, args, concurrency, rate, unstarted)
  local keys, now = intake.settlement.keys, intake.settlement.now
  if args.tokens then
    intake.tokens = TokenGate.open(keys, args.tokens, now)
  end
  rate = Rate.stricter(rate, args.limiter or nil)
  local window = rate and Rate.window(keys, rate, now)
  if concurrency or window then
    local free = concurrency and Limits.free(keys, concurrency, unstarted) or math.huge
    local fair = math.max(args.slots, math.floor(free / 2))
    free = math.min(free, window and window.free or math.huge)
    intake.places = math.min(intake.places, fair, free)
    intake.limited = intake.places == free
  end
  return window
end

-- When to ask again. While the queue is paused or until a closed window ends, nothing of what is left can start.
local function next_look(settlement, promotion, more, paused, window)
  if paused then
    return -1
  elseif window and window.free <= 0 and more == Intake.BLOCKED then
    return window.ends
  end
  return Promotion.earliest(settlement, promotion.next_due)
end

local function ring_for_lists(keys)
  if redis.call("LLEN", keys.priority) > 0 or redis.call("LLEN", keys.lifo) > 0 then
    Ready.ring(keys)
  end
end

local SPEC = {
  consumer = "string", cell = "string", run = "string", complete = "table", slots = "number", ahead = "number",
  claimed = "table", rung = "?table", limiter = "?table", tokens = "?table", estimate = "?table",
  max_bytes = "number",
}
local ROW = { "string", "string", "number", "string", "string", "any" }

Library.command("step", { "allow-oom" }, SPEC, function(keys, args, now)
  local fault = Arguments.row_fault(args.complete, ROW) or Limits.fault(args.limiter) or TokenGate.fault(args.tokens)
  fault = fault or Estimate.fault(args.estimate)
  if fault then
    return Replies.bad_argument(fault)
  end
  local settlement = Settlement.open(keys, now, args)
  local outcomes = {}
  for number, row in ipairs(args.complete) do
    outcomes[number] = complete(settlement, row)
  end
  settlement:close()

  local rung = args.rung or {}
  Ready.answer(keys, rung)
  Groups.promote_due(settlement)
  Suspension.expire_due(settlement)
  Vectors.look_around(keys)
  local paused, concurrency, rate = Limits.read(keys)
  local slots, ahead = args.slots, args.ahead
  local intake = Intake.open(settlement, args, slots, ahead)
  local claimed = verify_claimed(settlement, args)
  local window = apply_limits(intake, args, concurrency, rate, #claimed)
  local promotion, more, claims_left = nil, Intake.NOTHING_LEFT, false
  if not paused and (slots + ahead > 0 or #claimed > 0 or #rung > 0) then
    promotion, more, claims_left = take_all(intake, args, claimed)
    if window then
      Rate.count(keys, window, #intake.activations, now)
    end
    -- Rings follow progress, or a full host that heard one passes it on; else hosts would ring each other for ever.
    -- Nobody who blocks on the stream sees an entry that was claimed there and has given way to others.
    if more == Intake.MORE_LEFT and claims_left then
      Ready.ring(keys)
    elseif more == Intake.MORE_LEFT or slots + ahead == 0 and #rung > 0 then
      ring_for_lists(keys)
    end
  else
    intake.places = 0
    local held = {}
    take_claimed(intake, claimed, held)
    Ready.give_back(keys, held)
    promotion = promote(settlement, 0, 0)
  end
  settlement:close()
  if intake.shortest_lock > 0 then
    Lock.remember(keys, intake.shortest_lock)
  end
  local expired = intake.expired + promotion.expired
  local hints = {
    paused and 1 or 0, next_look(settlement, promotion, more, paused, window), more, expired, intake.quarantined,
    settlement.posted and 1 or 0,
  }
  if #settlement.refused > 0 then
    hints[#hints + 1] = settlement.refused
  end
  if intake.tokens then
    intake.tokens:close()
    return Replies.pack("ok", now, outcomes, intake.activations, hints, intake.tokens:reply(now))
  end
  return Replies.pack("ok", now, outcomes, intake.activations, hints)
end)
