-- TokenGate: which jobs the tokens of the present window suffice for, asked before each start. A job's estimate is its
-- option `estimatedTokens`, else what its name has used so far, else a default. The tokens are counted here, in the
-- queue's own window, or were lent to the caller, who passes on what is left of them.
local TokenGate = {}
TokenGate.__index = TokenGate

local SPEC = {
  max = "number", default = "number", duration_ms = "number", names = "?table", overtake = "?boolean", left = "?number",
  window = "?number", overrun = "?number", refund = "?number", refund_window = "?number",
}
local checks -- made at the first use: while a library loads, Lua's own functions are out of reach

-- The fault of a `tokens` argument, or nil; it may be absent.
function TokenGate.fault(spec)
  if not spec then
    return nil
  end
  checks = checks or Arguments.checks(SPEC)
  local fault = Arguments.fault(spec, checks)
  if fault then
    return "tokens: " .. fault
  elseif spec.max < 1 or spec.duration_ms < 1 then
    return "tokens: max and duration_ms must both be above 0"
  end
  return nil
end

-- What earlier jobs of this caller used beyond their estimates counts now, what they did not need in its own window.
local function settle(keys, window, spec, now)
  window:add(spec.overrun or 0)
  local refund = spec.refund or 0
  if refund > 0 and spec.refund_window == window.number then
    window:add(-refund)
  end
end

function TokenGate.open(keys, spec, now)
  local self = setmetatable({
    spec = spec,
    names = spec.names or {},
    left = spec.left,
    estimates = {},
    reserved = 0,
    short = 0, -- the least estimate that did not fit
    shut = false, -- nothing more may start, whatever it needs
    stale = false, -- what was lent belongs to a window that has ended
  }, TokenGate)
  if not spec.left then
    self.window = TokenWindow.open(keys, spec.duration_ms, now)
    settle(keys, self.window, spec, now)
    self.left = math.max(spec.max - self.window.used, 0)
  elseif spec.window and math.floor(now / spec.duration_ms) ~= spec.window then
    self.left, self.stale = 0, true
  end
  return self
end

local function estimate_of(self, name, opts)
  return Record.stated_tokens(opts) or self.names[name] or self.spec.default
end

-- Whether this job may start. One that needs more than a whole window holds gets a whole one, for itself.
function TokenGate:fits(name, opts)
  self.estimate = estimate_of(self, name, opts)
  local needed = math.min(self.estimate, self.spec.max)
  if needed <= self.left then
    return true
  end
  self.short = self.short > 0 and math.min(self.short, needed) or needed
  self.shut = not self.spec.overtake
  return false
end

-- The job that was asked about last starts.
function TokenGate:spend()
  local needed = math.min(self.estimate, self.spec.max)
  self.estimates[#self.estimates + 1] = self.estimate
  self.left, self.reserved = self.left - needed, self.reserved + needed
end

function TokenGate:close()
  if self.window then
    self.window:add(self.reserved)
  end
end

-- [[estimate of each start], short, left, window, ms until it ends, stale]; the window is 0 for lent tokens.
function TokenGate:reply(now)
  local window = self.window
  return {
    self.estimates, self.short, self.left, window and window.number or 0, window and window.ends - now or 0,
    self.stale and 1 or 0,
  }
end
