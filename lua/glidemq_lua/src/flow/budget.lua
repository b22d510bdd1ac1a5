-- Budget: what the jobs of one flow may use together, kept in the slot of the flow's root: `P:budget:<flow>`, the hash of
-- glide-mq for Node, and three keys of our own.
--
-- Jobs make statements, in this call or by letter: they ask before a run, tell what they have used, and that the run is
-- over. A statement names all that its job has used so far and has a version, so it may come twice, or after a later one.
-- Who is let start reserves an estimate; used and reserved together never exceed a limit. What a run uses is taken off
-- its own reservation, so what exceeds a limit in the end is what the runs in flight use beyond their estimates.
local Budget = {}

Budget.ANSWER = "budget-answer" -- kind of the letters that tell a job in another queue
Budget.GRANTED, Budget.FREE, Budget.WAIT, Budget.FAIL, Budget.PAUSE = "granted", "free", "wait", "fail", "pause"

-- Called with a job of this queue that may ask again.
function Budget.again(_, _) end

-- A reservation whose job has not been heard of for so long is void: its slot may have come back empty.
local VOID_AFTER_MS = 3600000
-- Our own keys go so long after the last statement.
local KEPT_MS = 30 * 86400000
-- Jobs let try again in one call, when a reservation has become free.
local WOKEN_AT_ONCE = 16
local VOIDED_AT_ONCE = 50

local RUNS, RESERVED = "runs", "reserved:"
local TOKENS, COST = "usedTokens", "usedCost"

local function number(text)
  local value = tonumber(text)
  return value and value == value and math.abs(value) < math.huge and value or 0
end

local function hash_of(keys, name)
  local flat, fields = redis.call("HGETALL", name), {}
  for index = 1, #flat, 2 do
    fields[flat[index]] = flat[index + 1]
  end
  return fields
end

-- What is limited: [{field of the hash that counts it, most, unit, category}]. A limit of 0 is none, as in Node.
local function axes_of(hash)
  local axes = {}
  local function add(counter, unit, total, by_category)
    local most = number(total)
    if most > 0 then
      axes[#axes + 1] = { field = counter, most = most, unit = unit }
    end
    for category, limit in pairs(JsonValue.read_numbers(by_category)) do
      if limit > 0 then
        axes[#axes + 1] = { field = counter .. ":" .. category, most = limit, unit = unit, category = category }
      end
    end
  end
  add(TOKENS, "tokens", hash.maxTotalTokens, hash.maxTokens)
  add(COST, "cost", hash.maxTotalCost, hash.maxCosts)
  return axes
end

-- Sums of fractions miss their decimal value by a little: ten times 0.1 is not more than 1.
local function is_above(value, most)
  return value > most * (1 + 1e-12)
end

-- Usage by the fields that count it; where weights leave nothing, the plain total counts.
local function amounts_of(weights, usage)
  local amounts, weighted = {}, 0
  for category, value in pairs(usage.tokens) do
    weighted = weighted + value * Estimate.weight(weights, category)
    amounts[TOKENS .. ":" .. category] = value
  end
  for category, value in pairs(usage.costs) do
    amounts[COST .. ":" .. category] = value
  end
  amounts[TOKENS] = weighted > 0 and weighted or usage.total_tokens
  amounts[COST] = usage.total_cost
  return amounts
end

local Flow = {}
Flow.__index = Flow

local function open(settlement, flow)
  local keys = settlement.keys
  local hash = hash_of(keys, keys.budget .. flow)
  if next(hash) == nil then
    return nil
  end
  return setmetatable({
    settlement = settlement,
    keys = keys,
    flow = flow,
    name = keys.budget .. flow,
    books = keys.budget_books .. flow,
    flying = keys.budget_flying .. flow,
    waiting = keys.budget_waiting .. flow,
    paused = keys.budget_paused .. flow,
    hash = hash,
    axes = axes_of(hash),
    weights = JsonValue.read_numbers(hash.tokenWeights),
  }, Flow)
end

function Flow:read(member)
  local stored = redis.call("HGET", self.books, "=" .. member)
  local entry = stored and cmsgpack.unpack(stored) or { version = 0 }
  entry.used, entry.reserved, entry.base = entry.used or {}, entry.reserved or {}, entry.base or {}
  return entry
end

function Flow:write(member, entry)
  redis.call("HSET", self.books, "=" .. member, cmsgpack.pack(entry))
end

-- What an entry still has reserved on an axis.
local function remaining(entry, field)
  local spent = (entry.used[field] or 0) - (entry.base[field] or 0)
  return math.max((entry.reserved[field] or 0) - math.max(spent, 0), 0)
end

function Flow:reserved(field)
  return number(redis.call("HGET", self.books, RESERVED .. field))
end

-- Changes an entry by `change` and keeps the sums of what is reserved.
function Flow:alter(entry, change)
  local before = {}
  for field in pairs(entry.reserved) do
    before[field] = remaining(entry, field)
  end
  change(entry)
  for field in pairs(entry.reserved) do
    before[field] = before[field] or 0
  end
  for field, had in pairs(before) do
    local more = remaining(entry, field) - had
    if more ~= 0 then
      redis.call("HINCRBYFLOAT", self.books, RESERVED .. field, JsonValue.number(more))
    end
  end
end

-- The run of an entry has nothing reserved any more.
function Flow:let_go(member, entry)
  self:alter(entry, function()
    for field in pairs(entry.reserved) do
      entry.reserved[field] = 0
    end
  end)
  entry.reserved, entry.base = {}, {}
  local left = redis.call("ZREM", self.flying, member)
  if left > 0 and redis.call("ZCARD", self.flying) == 0 then
    for _, axis in ipairs(self.axes) do
      redis.call("HDEL", self.books, RESERVED .. axis.field) -- sums of fractions drift
    end
  end
  return left > 0
end

-- A job that was removed may be added again under its name: what the earlier one has used stays used.
function Flow:meet(member, entry, born)
  if entry.born and entry.born ~= born then
    self:let_go(member, entry)
    entry.used = {}
  end
  entry.born = born
end

-- Takes down all that a job has used so far; each part of it counts once.
function Flow:use(entry, usage)
  local amounts = amounts_of(self.weights, usage)
  local function note()
    for field, amount in pairs(amounts) do
      local more = amount - (entry.used[field] or 0)
      if more ~= 0 then
        self.hash[field] = redis.call("HINCRBYFLOAT", self.name, field, JsonValue.number(more))
      end
      entry.used[field] = amount
    end
  end
  self:alter(entry, note)
  if self:violated() and self.hash.exceeded ~= "1" then
    self.hash.exceeded = "1"
    redis.call("HSET", self.name, "exceeded", "1")
  end
end

function Flow:violated()
  for _, axis in ipairs(self.axes) do
    if is_above(number(self.hash[axis.field]), axis.most) then
      return true
    end
  end
  return false
end

-- Reservations that nobody has settled for too long.
function Flow:void_old()
  local oldest = self.settlement.now - VOID_AFTER_MS
  local old = redis.call("ZRANGE", self.flying, "-inf", oldest, "BYSCORE", "LIMIT", 0, VOIDED_AT_ONCE)
  for _, member in ipairs(old) do
    local entry = self:read(member)
    self:let_go(member, entry)
    self:write(member, entry)
  end
end

function Flow:refusal()
  return self.hash.onExceeded == Budget.PAUSE and Budget.PAUSE or Budget.FAIL
end

-- The shares that a run reserves; or nil and what it is told instead. `stated`: its estimate, or false.
function Flow:shares(stated)
  if self.hash.exceeded == "1" or self:violated() then
    return nil, self:refusal()
  end
  local alone = redis.call("ZCARD", self.flying) == 0
  local runs = number(redis.call("HGET", self.books, RUNS))
  local shares, waits = {}, false
  for _, axis in ipairs(self.axes) do
    local field, used = axis.field, number(self.hash[axis.field])
    local taken = used + (alone and 0 or self:reserved(field))
    local left = math.max(axis.most - taken, 0)
    local share = Estimate.on(stated, axis, self.weights)
    if share then
      if is_above(used + share, axis.most) then
        return nil, self:refusal()
      end
    elseif runs > 0 then
      share = alone and math.min(used / runs, left) or used / runs
    elseif alone then
      share = left -- nothing is known of such jobs: all that is left is its own
    end
    waits = waits or not share or is_above(taken + share, axis.most)
    shares[field] = share
  end
  if waits then
    return nil, Budget.WAIT
  end
  return shares
end

-- What a job is told that asks to start.
function Flow:ask(member, entry, stated)
  self:void_old()
  self:let_go(member, entry)
  local shares, verdict = self:shares(stated)
  local now = self.settlement.now
  redis.call("ZREM", self.waiting, member)
  redis.call("ZREM", self.paused, member)
  if shares then
    self:alter(entry, function()
      for field, share in pairs(shares) do
        entry.reserved[field], entry.base[field] = share, entry.used[field] or 0
      end
    end)
    redis.call("ZADD", self.flying, now, member)
    return Budget.GRANTED
  elseif verdict == Budget.WAIT then
    redis.call("ZADD", self.waiting, now, member)
    return verdict
  elseif verdict == Budget.PAUSE then
    redis.call("ZADD", self.paused, now, member)
  end
  self:wake(self.waiting, 1) -- this one will not use what it was woken for
  return verdict
end

-- Lets jobs ask again, those that wait longest first.
function Flow:wake(set, limit)
  local members = redis.call("ZRANGE", set, 0, limit - 1)
  if #members == 0 then
    return 0
  end
  redis.call("ZREM", set, unpack(members))
  for _, member in ipairs(members) do
    local prefix, id = Keys.split_member(member)
    if prefix == self.keys.prefix then
      Budget.again(self.settlement, id)
    elseif prefix then
      Outbox.post(self.settlement, Budget.ANSWER, prefix, cmsgpack.pack({ id, self:read(member).version, "again" }))
    end
  end
  return #members
end

function Flow:keep()
  for _, name in ipairs({ self.books, self.flying, self.waiting, self.paused }) do
    redis.call("PEXPIRE", name, KEPT_MS)
  end
end

-- `what`: ask (for a run; `stated` is its Estimate or false), use, end (of a run that the average counts), return (of one
-- that it does not). `usage`: {born, tokens, total_tokens, costs, total_cost}, when the job was added and what all its
-- runs have used, or false for no news. Returns what an ask is told, nil if it is an old one.
function Budget.hear(settlement, flow, member, version, what, stated, usage)
  local self = open(settlement, flow)
  if not self then
    return Budget.FREE
  end
  local entry = self:read(member)
  if version <= entry.version then
    return nil -- said before, or overtaken
  end
  entry.version = version
  if usage then
    self:meet(member, entry, usage.born)
    self:use(entry, usage)
  end
  local verdict
  if what == "ask" then
    verdict = self:ask(member, entry, stated)
  elseif what == "use" then
    redis.call("ZADD", self.flying, "XX", settlement.now, member)
  else
    redis.call("ZREM", self.waiting, member)
    redis.call("ZREM", self.paused, member)
    if self:let_go(member, entry) then
      if what == "end" then
        redis.call("HINCRBY", self.books, RUNS, 1)
      end
      self:wake(self.waiting, WOKEN_AT_ONCE)
    end
  end
  self:write(member, entry)
  self:keep()
  return verdict
end

-- Changes limits; `fields` {name, value, ...}. Whoever was paused or waits asks again, at most `limit` of each. Returns
-- nil when there is no such budget, else how many are left to be woken.
function Budget.update(settlement, flow, fields, stale, limit)
  local keys = settlement.keys
  if redis.call("EXISTS", keys.budget .. flow) == 0 then
    return nil
  end
  if #fields > 0 then
    redis.call("HSET", keys.budget .. flow, unpack(fields))
  end
  if #stale > 0 then
    redis.call("HDEL", keys.budget .. flow, unpack(stale))
  end
  local self = open(settlement, flow)
  redis.call("HSET", self.name, "exceeded", self:violated() and "1" or "0")
  self:wake(self.paused, limit)
  self:wake(self.waiting, limit)
  return redis.call("ZCARD", self.paused)
end

-- The fields of the hash, flat, and {name of a counter, reserved, ...}; or nil.
function Budget.read(keys, flow)
  local self = open({ keys = keys }, flow)
  if not self then
    return nil
  end
  local reserved = {}
  for _, axis in ipairs(self.axes) do
    reserved[#reserved + 1], reserved[#reserved + 2] = axis.field, tostring(math.max(self:reserved(axis.field), 0))
  end
  return redis.call("HGETALL", self.name), reserved
end

function Budget.create(keys, flow, fields)
  redis.call("HSET", keys.budget .. flow, "usedTokens", "0", "usedCost", "0", "exceeded", "0", unpack(fields))
end
