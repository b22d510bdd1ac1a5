-- GroupWindow: how many jobs of a group may start per window of time. A window opens with the first start after the
-- one before it has ended; every start counts, that of a retry too.
local GroupWindow = {}
GroupWindow.__index = GroupWindow

GroupWindow.FIELDS = { "rateMax", "rateDuration", "rateWindowStart", "rateCount" }
GroupWindow.SETTINGS = 2 -- the first of them are settings, the rest is state

-- The window at `now`, from the values of FIELDS that start at position `first`; nil when the group has no limit.
function GroupWindow.of(values, first, now)
  local max, duration_ms = tonumber(values[first]), tonumber(values[first + 1])
  if not max or max <= 0 or not duration_ms or duration_ms <= 0 then
    return nil
  end
  local start, count = tonumber(values[first + 2]), tonumber(values[first + 3]) or 0
  if not start or now - start >= duration_ms then
    start, count = nil, 0
  end
  return setmetatable(
    { now = now, max = max, duration_ms = duration_ms, start = start, count = count }, GroupWindow
  )
end

-- Starts that are left in it.
function GroupWindow:left()
  return math.max(self.max - self.count, 0)
end

-- How many ms until another job may start.
function GroupWindow:ms_until_open()
  return self.start and self:left() == 0 and self.start + self.duration_ms - self.now or 0
end

function GroupWindow:count_start()
  self.start = self.start or self.now
  self.count = self.count + 1
  self.changed = true
end

-- A start at this time that did not happen; one of an earlier window does not matter any more.
function GroupWindow:give_back(started_on)
  if self.start and started_on >= self.start and self.count > 0 then
    self.count = self.count - 1
    self.changed = true
  end
end

-- Appends what has changed to a list of fields and values.
function GroupWindow:append_changes(changes)
  if self.changed then
    local size = #changes
    changes[size + 1], changes[size + 2] = "rateWindowStart", self.start
    changes[size + 3], changes[size + 4] = "rateCount", self.count
    self.changed = false
  end
end
