-- Ordering: what the add of a job means for its group - the next sequence, and the group's settings, for which the last
-- writer counts.
--
-- `extra` is the last member of an add's row: {ordering = {key, concurrency, rate_max, rate_duration_ms, tb_capacity,
-- tb_refill}, cost}. Everything but the key is optional; concurrency is 1 if absent, the two of a limit come together.
-- tb_capacity and cost are millitokens, tb_refill is in millitokens per second; all are whole numbers.
local Ordering = {}

local CHECKS = {
  { "concurrency", 1 }, { "rate_max", 1 }, { "rate_duration_ms", 1 }, { "tb_capacity", 1 }, { "tb_refill", 1 },
}
local PAIRS = { { "rate_max", "rate_duration_ms" }, { "tb_capacity", "tb_refill" } }
local KNOWN = {
  key = true, concurrency = true, rate_max = true, rate_duration_ms = true, tb_capacity = true, tb_refill = true,
}
local LARGEST = 9007199254740992

local function is_whole(value, least)
  return type(value) == "number" and value >= least and value <= LARGEST and value % 1 == 0
end

local function fault_of_ordering(ordering)
  if type(ordering) ~= "table" or type(ordering.key) ~= "string" or ordering.key == "" then
    return "ordering must be a map with a key"
  end
  for name in pairs(ordering) do
    if not KNOWN[name] then
      return "unknown member " .. tostring(name) .. " of ordering"
    end
  end
  for _, check in ipairs(CHECKS) do
    local value = ordering[check[1]]
    if value ~= nil and not is_whole(value, check[2]) then
      return check[1] .. " must be a whole number above 0"
    end
  end
  for _, pair in ipairs(PAIRS) do
    if (ordering[pair[1]] == nil) ~= (ordering[pair[2]] == nil) then
      return pair[1] .. " and " .. pair[2] .. " come together"
    end
  end
  return nil
end

-- The fault of ordering and cost in a row's `extra`, or nil.
function Ordering.fault(extra)
  if extra.cost ~= nil and not is_whole(extra.cost, 0) then
    return "cost must be a whole number of millitokens"
  end
  return extra.ordering ~= nil and fault_of_ordering(extra.ordering) or nil
end

-- Whether the job could never start. A bucket is always that of the last add, so the row alone tells.
function Ordering.is_too_dear(extra)
  local ordering = extra.ordering
  return ordering ~= nil and ordering.tb_capacity ~= nil
    and (extra.cost or TokenBucket.DEFAULT_COST) > ordering.tb_capacity
end

-- What Node's rounding makes of a number of tokens; nil for what is no number above 0.
local function millitokens(tokens)
  local amount = math.floor((tonumber(tokens) or 0) * 1000 + 0.5)
  return amount > 0 and amount or nil
end

local function whole(value)
  value = math.floor(tonumber(value) or 0)
  return value > 0 and value or nil
end

-- Both of a limit's settings, or none.
local function pair_of(limit, first, second, read)
  local a, b = nil, nil
  if type(limit) == "table" then
    a, b = read(limit[first]), read(limit[second])
  end
  if a and b then
    return a, b
  end
  return nil, nil
end

-- `extra` for a job whose decoded options are all that is known, or nil when they name neither group nor cost.
function Ordering.of_options(opts)
  local given = type(opts.ordering) == "table" and opts.ordering or {}
  local extra = { cost = millitokens(opts.cost) }
  if type(given.key) == "string" and given.key ~= "" then
    local ordering = { key = given.key, concurrency = whole(given.concurrency) }
    ordering.rate_max, ordering.rate_duration_ms = pair_of(given.rateLimit, "max", "duration", whole)
    ordering.tb_capacity, ordering.tb_refill = pair_of(given.tokenBucket, "capacity", "refillRate", millitokens)
    extra.ordering = ordering
  end
  return next(extra) and extra or nil
end

-- Settings as the group's hash holds them; false for none.
local FIELDS = { "maxConcurrency", "rateMax", "rateDuration", "tbCapacity", "tbRefillRate", "nextSeq" }

local function wanted(ordering)
  return {
    ordering.concurrency or 1, ordering.rate_max or false, ordering.rate_duration_ms or false,
    ordering.tb_capacity or false, ordering.tb_refill or false,
  }
end

-- Brings the hash to the settings of this add. Returns whether that changed those of an existing group.
local function apply(keys, ordering, now)
  local name = keys.group .. ordering.key
  local stored = redis.call("HMGET", name, unpack(FIELDS))
  local set, cleared, changed = {}, {}, false
  for index, value in ipairs(wanted(ordering)) do
    if value and tonumber(stored[index]) ~= value then
      set[#set + 1], set[#set + 2] = FIELDS[index], value
      changed = changed or stored[1] ~= false
    end
  end
  if not stored[6] then
    set[#set + 1], set[#set + 2] = "nextSeq", "1"
  end
  if ordering.tb_capacity and not stored[4] then
    set[#set + 1], set[#set + 2] = "tbTokens", ordering.tb_capacity
    set[#set + 1], set[#set + 2] = "tbLastRefill", now
    set[#set + 1], set[#set + 2] = "tbRefillRemainder", "0"
  end
  if stored[2] and not ordering.rate_max then
    cleared = GroupWindow.FIELDS
  end
  if stored[4] and not ordering.tb_capacity then
    cleared = { unpack(cleared) }
    for _, field in ipairs(TokenBucket.FIELDS) do
      cleared[#cleared + 1] = field
    end
  end
  if #set > 0 then
    redis.call("HSET", name, unpack(set))
  end
  if #cleared > 0 then
    redis.call("HDEL", name, unpack(cleared))
  end
  return changed or #cleared > 0
end

-- The settings that an add gives.
function Ordering.settle(keys, ordering, now)
  if apply(keys, ordering, now) then
    Groups.kick(keys, ordering.key, now)
  end
end

-- A job joins its group: applies the settings and returns the job's sequence.
function Ordering.join(keys, ordering, now)
  local seq = Groups.next_place(keys, ordering.key)
  Ordering.settle(keys, ordering, now)
  return seq
end
