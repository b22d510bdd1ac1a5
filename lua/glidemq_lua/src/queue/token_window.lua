-- TokenWindow: `P:tpm:<windowId>`, the tokens that are spoken for in one fixed window of the server's clock. What is
-- reserved, and what hosts hold in blocks, counts at once; Node adds what its jobs have used when they complete.
local TokenWindow = {}
TokenWindow.__index = TokenWindow

-- The window at `now`; another one if `number` is given.
function TokenWindow.open(keys, duration_ms, now, number)
  number = number or math.floor(now / duration_ms)
  local key = keys.tpm .. string.format("%.0f", number)
  return setmetatable({
    key = key,
    number = number,
    duration_ms = duration_ms,
    ends = (number + 1) * duration_ms,
    used = tonumber(redis.call("GET", key)) or 0,
  }, TokenWindow)
end

-- `tokens` may be negative: what was reserved and not needed comes back, though never more than there is.
function TokenWindow:add(tokens)
  tokens = math.max(tokens, -self.used)
  if tokens == 0 then
    return
  end
  self.used = redis.call("INCRBY", self.key, string.format("%.0f", tokens))
  -- Longer than the window lasts, as in Node; its readers may have left the key without a time.
  if redis.call("PTTL", self.key) < 0 then
    redis.call("PEXPIRE", self.key, self.duration_ms)
  end
end
