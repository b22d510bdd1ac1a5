-- Settlement: the writes of one call that are not keyed by a job's hash - acknowledgements, finished sets, metrics,
-- retention. They are gathered job by job and sent once per call, which is where batches save the server's time.
local Settlement = {}
Settlement.__index = Settlement

local CHUNK = 3000 -- members per ZADD: two values each, and unpack stops at 7,999

local function finished_set()
  return { scored = {}, count = 0, duration_ms = 0, doomed = {}, policies = {} }
end

-- `args.events` and `args.metrics` default to true. `args.hold_group_slots`: see Turns.step_back.
function Settlement.open(keys, now, args)
  return setmetatable({
    keys = keys,
    now = now,
    events = args.events ~= false,
    metrics = args.metrics ~= false,
    acknowledged = {},
    left = {},
    ended = {},
    lost = {}, -- those that did not complete, for their groups
    untold = {}, -- the same, for their parents
    refused = {}, -- {id, flow} of those that a budget has no room for, once and for all
    told = 0, -- parents that heard of a child in this call
    looks = 0, -- parked jobs that were looked at
    holds_slots = args.hold_group_slots == true,
    completed = finished_set(),
    failed = finished_set(),
  }, Settlement)
end

-- Called when a settlement closes: jobs have changed, some may have left a run that reserved something.
function Settlement.follow(_) end

function Settlement:event(event, id, ...)
  if self.events then
    Events.emit(self.keys, event, id, ...)
  end
end

-- The job is not in anybody's hands any more: its entry goes, or its place among the list-sourced ones.
-- Without a cell a list job's trace is left to recover_stalled.
function Settlement:leave(id, entry_id, cell)
  if entry_id ~= "" then
    self.acknowledged[#self.acknowledged + 1] = entry_id
  elseif cell then
    local ids = self.left[cell] or {}
    ids[#ids + 1] = id
    self.left[cell] = ids
  end
end

local function score(set, id, now)
  local size = #set.scored
  set.scored[size + 1], set.scored[size + 2] = now, id
end

local function add(set, id, now, duration_ms, policy)
  set.count = set.count + 1
  set.duration_ms = set.duration_ms + duration_ms
  if policy == true then
    set.doomed[#set.doomed + 1] = id
    return
  end
  score(set, id, now)
  if policy then
    local name = type(policy) == "table" and tostring(policy[1]) .. ":" .. tostring(policy[2]) or policy
    set.policies[name] = policy
  end
end

function Settlement:complete(id, duration_ms, policy)
  self.ended[#self.ended + 1] = id
  add(self.completed, id, self.now, duration_ms, policy)
end

-- `error`: see DeadLetters.note.
function Settlement:fail(id, duration_ms, policy, error)
  self:gone(id)
  DeadLetters.note(self, id, error)
  add(self.failed, id, self.now, duration_ms, policy)
end

-- Ended by hand: the job counts in no metric, and is no dead letter.
function Settlement:revoke(id)
  self:gone(id)
  score(self.failed, id, self.now)
end

-- The job is about to be deleted, unfinished.
function Settlement:gone(id)
  self.ended[#self.ended + 1] = id
  self.lost[#self.lost + 1] = id
  self.untold[#self.untold + 1] = id
end

-- Parked jobs go where this call has made room for them. Returns how many became ready.
function Settlement:settle_groups()
  if self.groups or #self.lost > 0 then
    return Groups.settle(self)
  end
  return 0
end

local function send(self, set, zset, metrics)
  local size = #set.scored
  if set.count == 0 and size == 0 then
    return
  end
  for first = 1, size, 2 * CHUNK do
    redis.call("ZADD", zset, unpack(set.scored, first, math.min(first + 2 * CHUNK - 1, size)))
  end
  if self.metrics and set.count > 0 then
    Metrics.add(metrics, self.now, set.count, set.duration_ms)
  end
  Retention.retire(self.keys, set.doomed)
  for _, policy in pairs(set.policies) do
    Retention.apply(self.keys, zset, policy, self.now)
  end
end

function Settlement:close()
  local keys = self.keys
  repeat
    self:settle_groups() -- may end more jobs
  until not News.tell_of_lost(self) -- as may this: their parents
  Settlement.follow(self)
  Ready.drop(keys, self.acknowledged)
  for cell, ids in pairs(self.left) do
    Active.leave(keys, cell, ids)
  end
  -- Every end of a job comes by here, and retention has not removed its hash yet.
  Schedulers.ended(keys, self.ended, self.now)
  Replays.ended(keys, self.completed, self.failed)
  send(self, self.completed, keys.completed, keys.metrics_completed)
  send(self, self.failed, keys.failed, keys.metrics_failed)
  self.acknowledged, self.left, self.ended = {}, {}, {}
  self.completed, self.failed = finished_set(), finished_set()
end
