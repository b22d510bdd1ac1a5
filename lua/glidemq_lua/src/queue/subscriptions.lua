-- Subscriptions: the deliveries of a broadcast's messages. Each subscription is a consumer group on the stream and gets
-- every entry once; acknowledged entries stay, for the others. What a subscription knows about a message alone stands
-- in P:job:<id>:sub:<subscription>, for a day: its failures (`a`, shared with Node), and in own fields the token of
-- the run in hand and the stalls.
local Subscriptions = {}

local KEPT_S = 86400
local ATTEMPTS, RUN, STALLS = "a", "x-py:run", "x-py:stalls"
local MOST_GROUPS = 100

-- {fault} or nil. BUSYGROUP: it exists, and goes on where it was.
function Subscriptions.create(keys, subscription, start_from)
  local reply = redis.pcall("XGROUP", "CREATE", keys.stream, subscription, start_from, "MKSTREAM")
  if type(reply) == "table" and reply.err and not string.find(reply.err, "BUSYGROUP", 1, true) then
    return reply.err
  end
  return nil
end

function Subscriptions.key(keys, id, subscription)
  return keys.job .. id .. ":sub:" .. subscription
end

function Subscriptions.names(keys)
  local groups = redis.pcall("XINFO", "GROUPS", keys.stream)
  local names = {}
  for number = 1, math.min(groups.err and 0 or #groups, MOST_GROUPS) do
    names[number] = groups[number][2]
  end
  return names
end

-- A message as it is about to be run: its record with the subscription's own count of failures, or nil if it is gone.
function Subscriptions.read(keys, id, subscription)
  local values = Record.read(keys, id)
  if not values or Record.fault(values, id) then
    return nil
  end
  Record.set_attempts_made(values, redis.call("HGET", Subscriptions.key(keys, id, subscription), ATTEMPTS) or "0")
  return values
end

-- Whether a run of it is in somebody's hands, as far as we noted.
function Subscriptions.is_running(keys, id, subscription)
  return redis.call("HEXISTS", Subscriptions.key(keys, id, subscription), RUN) == 1
end

function Subscriptions.count_stall(keys, id, subscription)
  return redis.call("HINCRBY", Subscriptions.key(keys, id, subscription), STALLS, 1)
end

function Subscriptions.start(settlement, subscription, id, values, token, entry_id)
  local keys, now = settlement.keys, settlement.now
  local key = Subscriptions.key(keys, id, subscription)
  redis.call("HSET", key, RUN, token)
  redis.call("EXPIRE", key, KEPT_S)
  States.enter(keys, id, "active", "processedOn", now, "lastActive", now)
  return Record.activation(values, now, token, entry_id)
end

-- nil when `token` names the run in hand, else a row code.
function Subscriptions.refusal(keys, id, subscription, token)
  if redis.call("HGET", Subscriptions.key(keys, id, subscription), RUN) == token then
    return nil
  end
  return View.exists(keys, id) and Replies.LEASE_LOST or Replies.GONE
end

-- The run has ended; with it go the entry, as far as this subscription is concerned, and the stalls.
function Subscriptions.finish(keys, id, subscription, entry_id)
  redis.call("HDEL", Subscriptions.key(keys, id, subscription), RUN, STALLS)
  Subscriptions.acknowledge(keys, subscription, { entry_id })
end

function Subscriptions.acknowledge(keys, subscription, entry_ids)
  if #entry_ids > 0 then
    redis.pcall("XACK", keys.stream, subscription, unpack(entry_ids))
  end
end

-- Whether an entry is pending for a consumer: it may have been taken over meanwhile.
function Subscriptions.holds(keys, subscription, consumer, entry_id)
  local rows = redis.pcall("XPENDING", keys.stream, subscription, entry_id, entry_id, 1, consumer)
  return not rows.err and #rows == 1
end

-- Messages that a consumer leaves undone: whoever looks for stale ones next finds them, and charges nobody.
function Subscriptions.abandon(keys, subscription, consumer, id, entry_id)
  if id then
    redis.call("HDEL", Subscriptions.key(keys, id, subscription), RUN)
  end
  redis.pcall("XCLAIM", keys.stream, subscription, consumer, 0, entry_id, "IDLE", KEPT_S * 1000, "JUSTID")
end

-- Returns the failures so far. `by` 0 only notes that the subscription is to try again: see has_retry.
function Subscriptions.count_failure(keys, id, subscription, by)
  local key = Subscriptions.key(keys, id, subscription)
  local attempts = redis.call("HINCRBY", key, ATTEMPTS, by)
  redis.call("EXPIRE", key, KEPT_S)
  return attempts
end

-- The scheduled member that stands for one subscription's retry.
function Subscriptions.retry_member(id, subscription)
  return id .. "||" .. subscription
end

-- The message and the subscription that a scheduled member stands for; the latter nil for a job. A job's own id may
-- contain the separator: then there is a job of that name.
function Subscriptions.split(keys, member)
  local id, subscription = string.match(member, "^(.-)||(.*)$")
  if not id or redis.call("EXISTS", keys.job .. member) == 1 then
    return member, nil
  end
  return id, subscription
end

-- Whether a subscription has yet to try the message again.
function Subscriptions.has_retry(keys, id, names, state)
  for _, name in ipairs(names) do
    if redis.call("ZSCORE", keys.scheduled, Subscriptions.retry_member(id, name)) then
      return true
    elseif state == "waiting" and redis.call("HEXISTS", Subscriptions.key(keys, id, name), ATTEMPTS) == 1 then
      return true
    end
  end
  return false
end
