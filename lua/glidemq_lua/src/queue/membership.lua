-- Membership: which workers are alive. `P:w:<consumer>` is the entry that every runtime and dashboard reads, a key
-- with a TTL; the own sorted set, scored by the same expiry, makes this library's workers countable without a scan.
local Membership = {}

-- Consumers are never deleted by Node, so there may be many; this many are looked at.
local FOREIGN = 1000

-- For a list of workers: groups (each subscription of a broadcast is one), and consumers of each.
local GROUPS = 100
local LISTED = 1000

function Membership.refresh(keys, consumer, info, ttl_ms, now)
  redis.call("SET", keys.worker .. consumer, info, "PX", ttl_ms)
  redis.call("ZREMRANGEBYSCORE", keys.workers, "-inf", "(" .. now)
  redis.call("ZADD", keys.workers, now + ttl_ms, consumer)
end

function Membership.withdraw(keys, consumer, now)
  redis.call("UNLINK", keys.worker .. consumer)
  redis.call("ZREM", keys.workers, consumer)
  redis.call("ZREMRANGEBYSCORE", keys.workers, "-inf", "(" .. now)
end

-- This library's workers that are alive.
function Membership.count(keys, now)
  return redis.call("ZCOUNT", keys.workers, now, "+inf")
end

-- Whether a consumer that this library does not know is registered as alive: the queue is shared with Node.
function Membership.has_foreign(keys)
  local consumers = redis.pcall("XINFO", "CONSUMERS", keys.stream, Ready.GROUP)
  local entries = {}
  for index = 1, math.min(consumers.err and 0 or #consumers, FOREIGN) do
    local name = consumers[index][2]
    if name ~= Ready.RETURNED and not redis.call("ZSCORE", keys.workers, name) then
      entries[#entries + 1] = keys.worker .. name
    end
  end
  return #entries > 0 and redis.call("EXISTS", unpack(entries)) > 0
end

-- Deletes a consumer's name from the group, unless entries are pending for it: those would be lost with it.
function Membership.forget_consumer(keys, consumer)
  local pending = redis.pcall("XPENDING", keys.stream, Ready.GROUP, "-", "+", 1, consumer)
  if not pending.err and #pending == 0 then
    redis.pcall("XGROUP", "DELCONSUMER", keys.stream, Ready.GROUP, consumer)
  end
end

-- Names that may be those of workers: this library's that are alive, and all consumers of all groups. Node's names
-- start with the time of their start, and dead ones stay: the latest are looked at.
local function candidates(keys, now)
  local names = redis.call("ZRANGE", keys.workers, now, "+inf", "BYSCORE", "LIMIT", 0, LISTED)
  local known = {}
  for _, name in ipairs(names) do
    known[name] = true
  end
  local groups = redis.pcall("XINFO", "GROUPS", keys.stream)
  for number = 1, math.min(groups.err and 0 or #groups, GROUPS) do
    local consumers = redis.call("XINFO", "CONSUMERS", keys.stream, groups[number][2])
    for index = #consumers, math.max(#consumers - LISTED + 1, 1), -1 do
      local name = consumers[index][2]
      if not known[name] then
        known[name] = true
        names[#names + 1] = name
      end
    end
  end
  return names
end

-- The workers that have a registry entry: {{consumer, info_json}, ...}
function Membership.alive(keys, now)
  local names = candidates(keys, now)
  local found = {}
  for first = 1, #names, LISTED do
    local last = math.min(first + LISTED - 1, #names)
    local entries = {}
    for index = first, last do
      entries[#entries + 1] = keys.worker .. names[index]
    end
    for offset, info in ipairs(redis.call("MGET", unpack(entries))) do
      if info then
        found[#found + 1] = { names[first + offset - 1], info }
      end
    end
  end
  return found
end
