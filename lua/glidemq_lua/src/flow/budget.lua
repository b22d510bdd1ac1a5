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

local RUNS, RESERVED, GUESSING = "runs", "reserved:", "guessing"

local number = Axes.number

local function hash_of(keys, name)
  local flat, fields = redis.call("HGETALL", name), {}
  for index = 1, #flat, 2 do
    fields[flat[index]] = flat[index + 1]
  end
  return fields
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
    axes = Axes.of(hash),
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

-- Nothing is reserved any more for these fields of an entry.
function Flow:free(entry, fields)
  self:alter(entry, function()
    for field in pairs(fields) do
      entry.reserved[field] = 0
    end
  end)
  if entry.guesses then
    redis.call("HINCRBY", self.books, GUESSING, -1)
    entry.guesses = nil
  end
end

-- The run of an entry has nothing reserved any more.
function Flow:let_go(member, entry)
  self:free(entry, entry.reserved)
  entry.reserved, entry.base = {}, {}
  local left = redis.call("ZREM", self.flying, member)
  if left > 0 and redis.call("ZCARD", self.flying) == 0 then
    for _, axis in ipairs(self.axes) do
      redis.call("HDEL", self.books, RESERVED .. axis.field, GUESSING) -- sums of fractions drift
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
  local amounts = Axes.amounts(self.weights, usage)
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
    if Axes.is_above(number(self.hash[axis.field]), axis.most) then
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

-- What a run is told that asks, the shares that it reserves if it may start, and which of them are guesses (nil: none).
-- `stated`: its estimate, or false.
function Flow:judge(stated)
  if self.hash.exceeded == "1" or self:violated() then
    return self:refusal()
  end
  local runs, guessing = unpack(redis.call("HMGET", self.books, RUNS, GUESSING))
  runs, guessing = number(runs), number(guessing) > 0
  local shares, guesses, waits = {}, {}, false
  for _, axis in ipairs(self.axes) do
    local field, used, reserved = axis.field, number(self.hash[axis.field]), self:reserved(axis.field)
    -- Whoever runs at present uses nothing of this, as far as can be told.
    local alone = not guessing and Axes.is_nothing(reserved, axis.most)
    local taken = used + (alone and 0 or reserved)
    local left = math.max(axis.most - taken, 0)
    local share = Estimate.on(stated, axis, self.weights)
    local guessed = not share
    if share then
      if Axes.is_above(used + share, axis.most) then
        return self:refusal()
      end
    elseif runs > 0 then
      share = alone and math.min(used / runs, left) or used / runs
    elseif alone then
      share = left -- nothing is known of such jobs: all that is left is its own
    end
    waits = waits or not share or Axes.is_above(taken + share, axis.most)
    shares[field], guesses[field] = share, guessed or nil
  end
  if waits then
    return Budget.WAIT
  end
  return Budget.GRANTED, shares, next(guesses) and guesses or nil
end

-- A parent that runs may wait for this job: what was guessed for it goes to its child. Returns whether there was any.
function Flow:inherit(parents)
  local any = false
  for _, parent in ipairs(parents or {}) do
    local entry = self:read(parent)
    if entry.guesses then
      self:free(entry, entry.guesses)
      self:write(parent, entry)
      any = true
    end
  end
  return any
end

-- What a job is told that asks to start.
function Flow:ask(member, entry, stated, parents)
  self:void_old()
  self:let_go(member, entry)
  local verdict, shares, guesses = self:judge(stated)
  if verdict == Budget.WAIT and self:inherit(parents) then
    verdict, shares, guesses = self:judge(stated)
  end
  local now = self.settlement.now
  redis.call("ZREM", self.waiting, member)
  redis.call("ZREM", self.paused, member)
  if shares then
    self:alter(entry, function()
      for field, share in pairs(shares) do
        entry.reserved[field], entry.base[field] = share, entry.used[field] or 0
      end
    end)
    if guesses then
      entry.guesses = guesses
      redis.call("HINCRBY", self.books, GUESSING, 1)
    end
    redis.call("ZADD", self.flying, now, member)
    return verdict
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
-- runs have used, or false for no news. `parents`: members of jobs that may wait for one that asks, or false. Returns
-- what an ask is told, nil if it is an old one.
function Budget.hear(settlement, flow, member, version, what, stated, usage, parents)
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
    verdict = self:ask(member, entry, stated, parents)
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
