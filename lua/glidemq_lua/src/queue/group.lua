-- Group: one ordering group during one call. Its hash is read once and written once, however many of its jobs the call
-- touches.
--
-- A job *holds a slot* of its group from its start. With a concurrency of 1 it keeps it until it has ended, so that its
-- retries do not lose its turn; above 1 only while it runs or stands in front of the queue to run at once. The job's
-- field `x-py:slot` is 1 while it holds one and 0 once it gave it up; a started job without the field, which Node
-- started, holds one until it ends.
--
-- `P:ratelimited` holds the groups that nobody may start jobs of before a time: paused ones, and those whose first
-- parked job a limit keeps waiting. Only the time in `x-py:wakeAt` is one that a limit gave.
local Group = {}
Group.__index = Group

Group.SLOT = "x-py:slot"
Group.HELD = "1"
Group.GIVEN_UP = "0"

local FIELDS = { "maxConcurrency", "active", "nextSeq", "x-py:wakeAt" }
local BUCKET = #FIELDS + 1
for index = 1, #TokenBucket.FIELDS do
  FIELDS[#FIELDS + 1] = TokenBucket.FIELDS[index]
end
local WINDOW = #FIELDS + 1
for index = 1, #GroupWindow.FIELDS do
  FIELDS[#FIELDS + 1] = GroupWindow.FIELDS[index]
end

-- Skip markers looked at per call; the rest is left to the next one.
local MARKERS = 2000
local MARKERS_AT_ONCE = 200

local function wake_time(settlement, key)
  local keys = settlement.keys
  if settlement.limited == nil then
    settlement.limited = redis.call("EXISTS", keys.ratelimited) == 1
  end
  return settlement.limited and tonumber(redis.call("ZSCORE", keys.ratelimited, key)) or 0
end

-- The group as this call has left it so far. All groups of a call stand in `settlement.groups`, by key and in a row.
function Group.of(settlement, key)
  local groups = settlement.groups or {}
  settlement.groups = groups
  if groups[key] then
    return groups[key]
  end
  local name = settlement.keys.group .. key
  local values = redis.call("HMGET", name, unpack(FIELDS))
  local group = setmetatable({
    settlement = settlement,
    key = key,
    name = name,
    max = tonumber(values[1]) or 0,
    active = tonumber(values[2]) or 0,
    next_seq = tonumber(values[3]) or 0,
    resume_at = wake_time(settlement, key),
    limited_until = tonumber(values[4]),
    bucket = TokenBucket.of(values, BUCKET, settlement.now),
    window = GroupWindow.of(values, WINDOW, settlement.now),
    touched = false, -- something may have let a parked job go
    changes = {},
  }, Group)
  groups[key], groups[#groups + 1] = group, group
  return group
end

-- A job's place in its group, from its field `orderingSeq`; nil for one without.
function Group.sequence(text)
  local seq = tonumber(text)
  return seq and seq > 0 and seq or nil
end

-- Slots that are free. A maximum of 0 means that others wrote none.
function Group:room()
  return self.max > 0 and self.max - self.active or math.huge
end

function Group:has_started(seq)
  return seq ~= nil and seq < self.next_seq
end

-- Whether a job of this sequence and with this `x-py:slot` holds a slot.
function Group:holds(seq, slot)
  return slot == Group.HELD or slot ~= Group.GIVEN_UP and self:has_started(seq)
end

function Group:take_slot()
  self.active = self.active + 1
  self.changes.active = self.active
end

function Group:free_slot()
  self.active = math.max(self.active - 1, 0)
  self.changes.active = self.active
  self.touched = true
end

local function advance(self, next_seq)
  self.next_seq = next_seq
  self.changes.nextSeq = next_seq
  self.touched = true
end

-- How many sequences from `seq` on are marked; their markers are gone then.
local function take_markers(self, seq, most)
  local markers = {}
  for offset = 0, most - 1 do
    markers[offset + 1] = "skip:" .. seq + offset
  end
  local found, run = redis.call("HMGET", self.name, unpack(markers)), 0
  while found[run + 1] do
    run = run + 1
  end
  if run > 0 then
    redis.call("HDEL", self.name, unpack(markers, 1, run))
  end
  return run
end

-- Whether it is this sequence's turn, or was before. Sequences that will never start are stepped over.
function Group:reaches(seq)
  local size, budget = 1, MARKERS
  while self.next_seq > 0 and self.next_seq < seq do
    if budget <= 0 then
      if not self:is_paused() then
        self:wake_at(self.settlement.now)
      end
      return false
    end
    local run = take_markers(self, self.next_seq, size)
    if run > 0 then
      advance(self, self.next_seq + run)
    end
    if run < size then
      break
    end
    budget, size = budget - run, MARKERS_AT_ONCE
  end
  return self.next_seq == 0 or seq <= self.next_seq
end

-- This sequence will never start.
function Group:skip(seq)
  if seq == self.next_seq then
    advance(self, seq + 1)
  elseif self.next_seq > 0 and seq > self.next_seq then
    redis.call("HSET", self.name, "skip:" .. seq, "1")
  end
end

-- A job that had ended before its turn may start after all. If its turn has not come yet, its group waits for it again.
function Group.expect_again(keys, key, seq)
  if seq then
    redis.call("HDEL", keys.group .. key, "skip:" .. seq)
  end
end

-- The cost alone forbids the start, whatever time passes.
function Group:is_too_dear(cost)
  return self.bucket ~= nil and cost > self.bucket.capacity
end

-- How long the limits keep a job of this cost from starting, in ms.
function Group:ms_until(cost)
  local bucket, window = self.bucket, self.window
  return math.max(bucket and bucket:ms_until(cost) or 0, window and window:ms_until_open() or 0)
end

-- Paused by somebody's wish, not kept waiting by its limits.
function Group:is_paused()
  return self.resume_at > self.settlement.now and self.resume_at ~= self.limited_until
end

-- A job starts; `holds`: it has its slot already.
function Group:start(seq, holds, cost)
  if not holds then
    self:take_slot()
  end
  if seq and seq >= self.next_seq then
    self.next_seq = seq + 1
    self.changes.nextSeq = self.next_seq
  end
  if self.bucket then
    self.bucket:take(cost)
  end
  if self.window then
    self.window:count_start()
  end
  self.touched = self.touched or self:room() > 0
end

-- A start at this time did not happen; the job keeps its turn and its slot.
function Group:take_back_start(cost, started_on)
  if self.bucket then
    self.bucket:give_back(cost)
  end
  if self.window then
    self.window:give_back(started_on)
  end
end

-- Parked jobs are to be looked at again then, since a limit has let none go. Not for paused groups.
function Group:wake_at(at)
  if self.resume_at ~= at then
    redis.call("ZADD", self.settlement.keys.ratelimited, at, self.key)
    self.settlement.limited = true
    self.resume_at, self.limited_until = at, at
    self.changes["x-py:wakeAt"] = at
  end
end

-- Nobody may start the group's jobs for a while, by somebody's wish. `extend` "max": an earlier wish that goes further
-- stays; "replace": this one counts. Returns the time at which they go on.
function Group:pause(duration_ms, extend)
  local resume_at = self.settlement.now + duration_ms
  if extend == "max" and self.resume_at > resume_at then
    resume_at = self.resume_at
  end
  redis.call("ZADD", self.settlement.keys.ratelimited, resume_at, self.key)
  self.settlement.limited = true
  if self.limited_until == resume_at then
    self.changes["x-py:wakeAt"] = 0
  end
  self.resume_at, self.limited_until = resume_at, nil
  return resume_at
end

-- Nothing is parked that its limits keep waiting.
function Group:forget_wake()
  if self.resume_at > 0 then
    redis.call("ZREM", self.settlement.keys.ratelimited, self.key)
    self.resume_at = 0
  end
end

function Group:save()
  local changes = {}
  for field, value in pairs(self.changes) do
    changes[#changes + 1] = field
    changes[#changes + 1] = value
  end
  if self.bucket then
    self.bucket:append_changes(changes)
  end
  if self.window then
    self.window:append_changes(changes)
  end
  if #changes > 0 then
    redis.call("HSET", self.name, unpack(changes))
    self.changes = {}
  end
end
