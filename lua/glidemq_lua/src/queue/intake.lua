-- Intake: turns ready job ids into activations, within what one step may take.
local Intake = {}
Intake.__index = Intake

local MOST = 1000 -- jobs in one reply, whatever was asked for

-- Whether another step would find work.
Intake.NOTHING_LEFT = 0
Intake.MORE_LEFT = 1
Intake.BLOCKED = 2 -- there is some, but only a limit's release lets it start

-- What became of an offered id.
Intake.STARTED = "started"
Intake.DROPPED = "dropped" -- its entry or list element is of no use to anybody; its group may have parked it
Intake.HELD = "held" -- it may start later and must go back where it came from
Intake.KEPT = "kept" -- it is running already and is left alone

-- `slots` jobs may start, and `ahead` more may wait behind running ones.
function Intake.open(settlement, args, slots, ahead)
  return setmetatable({
    settlement = settlement,
    run = args.run,
    cell = args.cell,
    max_bytes = args.max_bytes,
    places = math.min(slots + ahead, MOST),
    shut = false, -- what comes next has to wait for something more urgent
    limited = false, -- the places are all that a limit leaves
    estimate = args.estimate or nil, -- of jobs that state none themselves
    tokens = nil, -- a TokenGate, if the queue's jobs are limited by the tokens they use
    bytes = 0,
    activations = {},
    expired = 0,
    quarantined = 0,
    dropped = 0,
    held = 0,
    shortest_lock = -1, -- of those started with one of their own
  }, Intake)
end

function Intake:wants()
  if self.shut or #self.activations > 0 and self.bytes >= self.max_bytes or self.tokens and self.tokens.shut then
    return 0
  end
  return self.places - #self.activations
end

local function hold(self)
  self.held = self.held + 1
  return Intake.HELD
end

-- Further fields of the hash follow.
local function start(self, id, values, entry_id, ...)
  local now = self.settlement.now
  self.shortest_lock = Lock.shorter(self.shortest_lock, Lock.of_options(Record.options(values)) or -1)
  local number = #self.activations + 1
  local token = self.run .. "." .. number
  local keys = self.settlement.keys
  if entry_id ~= "" then
    States.enter(keys, id, "active", "processedOn", now, "lastActive", now, Lease.RUN, token, ...)
  else
    States.enter(
      keys, id, "active", "processedOn", now, "lastActive", now, Lease.RUN, token, "x-py:cell", self.cell, ...
    )
  end
  self.activations[number] = Record.activation(values, now, token, entry_id)
end

-- A state other than `waiting`: the id is an echo of a job that lives elsewhere - unless the state was written late.
local function is_echo(self, id, state)
  if state == "delayed" or state == "prioritized" then
    -- Node sets these after the sorted set, in calls that may be overtaken: the set is the truth.
    return redis.call("ZSCORE", self.settlement.keys.scheduled, id) ~= false
  end
  return true
end

-- The job's record if it may start now; else nil and what becomes of the id.
local function judge(self, id)
  local settlement = self.settlement
  local values, wrong_type = Record.read(settlement.keys, id)
  if not values then
    self.quarantined = self.quarantined + (wrong_type and 1 or 0)
    return nil, Intake.DROPPED
  end
  local state = values[Record.STATE]
  if state == "active" then
    return nil, Intake.KEPT
  end
  if state and not States.allows("start", state) and is_echo(self, id, state) then
    return nil, Intake.DROPPED
  end
  local fault = Record.fault(values, id)
  if fault then
    Ending.quarantine(settlement, id, fault)
    self.quarantined = self.quarantined + 1
    return nil, Intake.DROPPED
  end
  if values[Record.REVOKED] == "1" then
    redis.call("HINCRBY", settlement.keys.job .. id, "attemptsMade", 1)
    Ending.fail(settlement, id, Ending.REVOKED, false, false)
    return nil, Intake.DROPPED
  end
  if Record.is_expired(values[Record.EXPIRE_AT], settlement.now) then
    Ending.expire(settlement, id)
    self.expired = self.expired + 1
    return nil, Intake.DROPPED
  end
  return values
end

-- `entry_id` is "" for a list job.
function Intake:offer(id, entry_id)
  if self:wants() <= 0 then
    return hold(self)
  end
  local values, instead = judge(self, id)
  if not values then
    self.dropped = self.dropped + 1
    return instead
  end
  local constrained = Record.is_constrained(values)
  local bytes = Record.bytes(values)
  if #self.activations > 0 and self.bytes + bytes > self.max_bytes then
    self.bytes = self.max_bytes
    return hold(self)
  end
  if self.tokens and not self.tokens:fits(Record.name(values), Record.opts(values)) then
    return hold(self)
  end
  local budgeted = Record.budget_key(values) ~= nil
  if budgeted and not Allowance.admit(self.settlement, id, values, self.estimate) then
    self.dropped = self.dropped + 1
    return Intake.DROPPED
  end
  if constrained and not Groups.admit(self.settlement, id, values) then
    if budgeted then
      Allowance.give_back(self.settlement, id)
    end
    self.dropped = self.dropped + 1
    return Intake.DROPPED
  end
  self.bytes = self.bytes + bytes
  if self.tokens then
    self.tokens:spend()
  end
  if not constrained then
    start(self, id, values, entry_id)
    return Intake.STARTED
  end
  if Record.group_key(values) then
    start(self, id, values, entry_id, Group.SLOT, Group.HELD)
  else
    start(self, id, values, entry_id)
  end
  return Intake.STARTED
end
