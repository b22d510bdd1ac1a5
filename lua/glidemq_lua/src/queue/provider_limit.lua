-- ProviderLimit: what a provider has said about a limit key - wait so long; so many requests, so many tokens are left
-- until then. The hash `P:x-py:observed`, in a slot of the key's own, is gone when nothing of it holds any more.
local ProviderLimit = {}

-- A statement about a period that ends this much later is about another period.
local SAME_PERIOD_MS = 1000

local FIELDS = { "holdUntil", "requests", "requestsUntil", "tokens", "tokensUntil" }

-- {hold_until, requests, requests_until, tokens, tokens_until}; what is over, or was never said, is 0 or nil.
function ProviderLimit.read(keys, now)
  local stored = redis.call("HMGET", keys.observed, unpack(FIELDS))
  local said = { hold_until = tonumber(stored[1]) or 0 }
  for index, name in ipairs({ "requests", "tokens" }) do
    local left, till = tonumber(stored[2 * index]), tonumber(stored[2 * index + 1]) or 0
    said[name], said[name .. "_until"] = till > now and left or nil, till
  end
  return said
end

local function note(changes, name, value)
  changes[#changes + 1] = name
  changes[#changes + 1] = string.format("%.0f", value)
end

-- Answers overtake each other: of two about the same period the smaller one is later.
local function remaining(changes, said, name, left, till)
  if not left then
    return
  end
  local known = said[name]
  if known and till <= said[name .. "_until"] + SAME_PERIOD_MS then
    left, till = math.min(left, known), math.max(till, said[name .. "_until"])
  end
  said[name .. "_until"] = till
  note(changes, name, left)
  note(changes, name .. "Until", till)
end

-- `retry_ms`, `requests` and `tokens` may be absent; the latter two hold for `reset_ms`.
function ProviderLimit.observe(keys, now, args)
  local said, changes = ProviderLimit.read(keys, now), {}
  if args.retry_ms then
    said.hold_until = math.max(said.hold_until, now + args.retry_ms)
    note(changes, "holdUntil", said.hold_until)
  end
  remaining(changes, said, "requests", args.requests, now + args.reset_ms)
  remaining(changes, said, "tokens", args.tokens, now + args.reset_ms)
  if #changes > 0 then
    redis.call("HSET", keys.observed, unpack(changes))
    local last = math.max(said.hold_until, said.requests_until, said.tokens_until)
    redis.call("PEXPIRE", keys.observed, math.max(last - now, 1))
  end
end

-- A host exchanges its share of what is left for a new one, which it may use up without asking again. `held` is the
-- rest of its share of the period that ends at `till`. Returns the share (nil: nothing was said) and when it ends.
function ProviderLimit.share(keys, said, name, batch, held, till)
  local left, ends = said[name], said[name .. "_until"]
  if not left then
    return nil, 0
  end
  local free = left + (till == ends and held or 0)
  local share = Allotment.grant(free, math.min(batch, 1), batch, free)
  if free - share ~= left then
    redis.call("HSET", keys.observed, name, string.format("%.0f", free - share))
  end
  return share, ends
end
