-- TokenBucket: what a group may spend. Tokens flow in at a constant rate, up to a capacity; a start takes its cost.
-- Amounts are millitokens, the rate is in millitokens per second. The remainder, in thousandths of a millitoken, makes
-- sure that nothing is lost however often one looks.
local TokenBucket = {}
TokenBucket.__index = TokenBucket

-- `x-py:tbFullAt`: when tokens were last taken from a full bucket. Others leave `tbLastRefill` alone then, and would
-- refill from it again for the time in which nothing more had fitted in.
TokenBucket.FIELDS =
  { "tbCapacity", "tbRefillRate", "tbTokens", "tbLastRefill", "tbRefillRemainder", "x-py:tbFullAt" }
TokenBucket.SETTINGS = 2 -- the first of them are settings, the rest is state

-- Of a job that names no cost: one token.
TokenBucket.DEFAULT_COST = 1000

local function refill(self, last_refill, full_at, now)
  if self.tokens >= self.capacity then
    self.tokens, self.remainder, self.was_full = self.capacity, 0, true
    return
  end
  local elapsed = now - math.max(last_refill or now, full_at or 0)
  if elapsed <= 0 or self.rate <= 0 then
    return
  end
  elapsed = math.min(elapsed, math.ceil(self.capacity * 1000 / self.rate))
  local raw = elapsed * self.rate + self.remainder
  self.tokens = math.min(self.capacity, self.tokens + math.floor(raw / 1000))
  self.remainder, self.refilled_at = raw % 1000, now
end

-- The bucket as it is at `now`, from the values of FIELDS that start at position `first`; nil without a capacity.
function TokenBucket.of(values, first, now)
  local capacity = tonumber(values[first])
  if not capacity or capacity <= 0 then
    return nil
  end
  local self = setmetatable({
    now = now,
    capacity = capacity,
    rate = tonumber(values[first + 1]) or 0,
    tokens = tonumber(values[first + 2]) or capacity,
    remainder = tonumber(values[first + 4]) or 0,
  }, TokenBucket)
  refill(self, tonumber(values[first + 3]), tonumber(values[first + 5]), now)
  return self
end

-- How many ms until there are so many tokens; 0 when they are there.
function TokenBucket:ms_until(tokens)
  local missing = (tokens - self.tokens) * 1000 - self.remainder
  return self.tokens < tokens and math.ceil(missing / math.max(self.rate, 1)) or 0
end

function TokenBucket:take(cost)
  self.tokens = self.tokens - cost
  self.changed = true
end

-- A start that did not happen.
function TokenBucket:give_back(cost)
  self.tokens = math.min(self.capacity, self.tokens + cost)
  self.changed = true
end

-- Appends what has changed to a list of fields and values.
function TokenBucket:append_changes(changes)
  if not self.changed then
    return
  end
  local size = #changes
  changes[size + 1], changes[size + 2] = "tbTokens", self.tokens
  changes[size + 3], changes[size + 4] = "tbRefillRemainder", self.remainder
  if self.refilled_at then
    changes[size + 5], changes[size + 6] = "tbLastRefill", self.refilled_at
  elseif self.was_full then
    changes[size + 5], changes[size + 6] = "x-py:tbFullAt", self.now
  end
  self.changed = false
end
