-- take_deliveries: start the messages that a reader has claimed for a subscription, and those whose worker died.
-- Moves:  any -> active; active -> failed (stalled too often, revoked, expired)
-- Keys:   stream, job, job:<id>:sub:<subscription>, completed, failed, events, metrics, meta, rate
-- Args:   consumer, subscription, run, claimed [entry_id], skipped [entry_id] (acknowledged unseen), in_hand [entry_id]
--         (of this consumer, not stale), stale_ms (0: look for none), max_stalled, limit (of stale ones), events, metrics
-- Reply:  ["ok", now_ms, [[blob, id, token, entry_id, name, opts, processed_on, flags]], [held entry_id],
--         look_again_ms, [[id, what]]]
--         held: the broadcast is paused, or its rate limit exhausted: give them again at look_again_ms (-1: any time)
--         what: stalled, failed, dropped
-- Errors: bad_argument
-- Events: stalled, failed, expired
local SPEC = {
  consumer = "string", subscription = "string", run = "string", claimed = "table", skipped = "table", in_hand = "table",
  stale_ms = "number", max_stalled = "number", limit = "number",
}

local MOST = 1000

-- Its entry's job, or nil when the entry was trimmed or belongs to another subscription's retry.
local function job_of(keys, entry_id, subscription)
  local entry = redis.call("XRANGE", keys.stream, entry_id, entry_id)[1]
  if not entry then
    return nil
  end
  for index = 1, #entry[2], 2 do
    if entry[2][index] == "retryGroup" and entry[2][index + 1] ~= subscription then
      return nil
    end
  end
  return Ready.job_id(entry[2])
end

-- Pending entries that nobody has given a sign of life for; they become this consumer's.
local function claim_stale(keys, args)
  if args.stale_ms <= 0 or args.limit <= 0 then
    return {}
  end
  local limit = math.min(args.limit, MOST)
  local in_hand = {}
  for _, entry_id in ipairs(args.in_hand) do
    in_hand[entry_id] = true
  end
  local rows = redis.pcall("XPENDING", keys.stream, args.subscription, "IDLE", args.stale_ms, "-", "+", limit)
  local stale = {}
  for _, row in ipairs(rows.err and {} or rows) do
    if not (in_hand[row[1]] and row[2] == args.consumer) then
      redis.call("XCLAIM", keys.stream, args.subscription, args.consumer, 0, row[1], "JUSTID")
      stale[#stale + 1] = row[1]
    end
  end
  return stale
end

-- The record of a message that may start, or nil: then there is nothing left to do for the entry.
local function judge(settlement, id, subscription)
  local values = id and Subscriptions.read(settlement.keys, id, subscription)
  if not values then
    return nil
  elseif values[Record.REVOKED] == "1" then
    Ending.fail(settlement, id, Ending.REVOKED, false, false)
    return nil
  elseif Record.is_expired(values[Record.EXPIRE_AT], settlement.now) then
    Ending.expire(settlement, id)
    return nil
  end
  return values
end

-- Whether a message whose worker fell silent is to run again. One that had not started is not charged.
local function survives(settlement, args, id, recovered)
  local keys = settlement.keys
  if not id or not Subscriptions.is_running(keys, id, args.subscription) then
    return true
  end
  if Subscriptions.count_stall(keys, id, args.subscription) > args.max_stalled then
    Ending.fail(settlement, id, Ending.STALLED, redis.call("HGET", keys.job .. id, "processedOn"), false)
    recovered[#recovered + 1] = { id, "failed" }
    return false
  end
  settlement:event("stalled", id)
  recovered[#recovered + 1] = { id, "stalled" }
  return true
end

Library.command("take_deliveries", { "allow-oom" }, SPEC, function(keys, args, now)
  local settlement = Settlement.open(keys, now, args)
  Subscriptions.acknowledge(keys, args.subscription, args.skipped)
  local paused, _, rate = Limits.read(keys)
  local window = rate and Rate.window(keys, rate, now)
  local activations, held, recovered = {}, {}, {}

  local function offer(entry_id, is_stale)
    local id = job_of(keys, entry_id, args.subscription)
    local survived = not is_stale or survives(settlement, args, id, recovered)
    local values = survived and judge(settlement, id, args.subscription)
    if not values then
      if id then
        Subscriptions.finish(keys, id, args.subscription, entry_id)
      else
        Subscriptions.acknowledge(keys, args.subscription, { entry_id })
      end
    elseif paused or window and #activations >= window.free then
      held[#held + 1] = entry_id
    else
      local token = args.run .. "." .. #activations + 1
      activations[#activations + 1] =
        Subscriptions.start(settlement, args.subscription, id, values, token, entry_id)
    end
  end

  for _, entry_id in ipairs(args.claimed) do
    if Subscriptions.holds(keys, args.subscription, args.consumer, entry_id) then
      offer(entry_id, false)
    end
  end
  for _, entry_id in ipairs(claim_stale(keys, args)) do
    offer(entry_id, true)
  end
  if window then
    Rate.count(keys, window, #activations, now)
  end
  settlement:close()
  local look_again = not paused and window and #held > 0 and window.ends or -1
  return Replies.pack("ok", now, activations, held, look_again, recovered)
end)
