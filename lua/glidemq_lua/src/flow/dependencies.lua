-- Dependencies: a parent's books about its children, kept when news of one comes in.
--
-- `P:deps:<id>` names all children; they stay in it when they finish. Fields of the parent's hash, by child: `depdone:`
-- marks those that need not be waited for any more, `depsCompleted` counts the marks. A child that the parent forgets
-- leaves the set and gets a mark that does not count: what becomes of it later is of no concern. Own fields:
-- `x-py:depfailed:` is why a child failed, `x-py:depvalue:` what a child returned whose own hash does not last;
-- `x-py:depsFailing` counts the failures that this parent must fail of, `x-py:failing` says of which; `x-py:wake` names
-- the run that is not to wait although children are left; `x-py:missing:` is when somebody first looked for a child in
-- vain.
local Dependencies = {}

local DONE, FAILED, VALUE, MISSING = "depdone:", "x-py:depfailed:", "x-py:depvalue:", "x-py:missing:"
local COMPLETED_COUNT, FAILING, FAILING_OF, WAKE = "depsCompleted", "x-py:depsFailing", "x-py:failing", "x-py:wake"

local COUNTED, FORGOTTEN = "1", "0"

-- A parent is looked after so long after it began to wait, and then again, in case nobody tells it of a child: a Node
-- worker ended it, or its queue has no worker, or whoever was to add it died. See check_parents.
local LOOK_AFTER_MS, LONGEST_LOOK_MS = 30000, 300000
-- A child that cannot be found may be on its way; after this time it will not come.
local PATIENCE_MS = 60000

-- Children per SADD: unpack stops at 7,999.
local CHUNK = 5000

local function is_complete(keys, id, done)
  return done >= redis.call("SCARD", keys.deps .. id)
end

-- The parent runs (again).
local function start_again(settlement, id, name)
  local keys = settlement.keys
  redis.call("ZREM", keys.parent_looks, id)
  Groups.take_place(keys, id)
  Lanes.enter(keys, id, name)
  settlement:event("active", id)
end

local function fail(settlement, id, reason, ...)
  local keys = settlement.keys
  redis.call("ZREM", keys.parent_looks, id)
  local policy = Retention.of_options(redis.call("HGET", keys.job .. id, "opts"), "removeOnFail")
  Ending.fail(settlement, id, reason, false, policy, ...)
end

-- A parent as one piece of news finds it; nil if the news is none of its business.
local function read(keys, id, member)
  local fields = redis.pcall("HMGET", keys.job .. id, "id", "state", "name", FAILED .. member, DONE .. member)
  if fields.err or not fields[1] then
    return nil -- removed: it must not come back as a stub
  elseif fields[2] ~= "active" and redis.call("SISMEMBER", keys.deps .. id, member) == 0 then
    -- Forgotten, or the child of an earlier job of this id. A running parent may be about to learn of it: in Node, a
    -- child in another queue comes into being before its parent expects it.
    return nil
  end
  return {
    id = id, key = keys.job .. id, state = fields[2], name = fields[3],
    member = member, has_failed = fields[4] ~= false, is_done = fields[5] ~= false,
  }
end

local function mark(settlement, parent)
  redis.call("HSET", parent.key, DONE .. parent.member, COUNTED)
  local done = redis.call("HINCRBY", parent.key, COMPLETED_COUNT, 1)
  if States.allows("wake", parent.state) and is_complete(settlement.keys, parent.id, done) then
    start_again(settlement, parent.id, parent.name)
    return true
  elseif States.allows("wake", parent.state) then
    -- Perhaps another library's parent, which nobody looks after yet.
    redis.call("ZADD", settlement.keys.parent_looks, "NX", settlement.now + LOOK_AFTER_MS, parent.id)
  end
  return false
end

-- The parent need not fail of this child any more.
local function forgive(parent)
  if not parent.has_failed or parent.is_done then
    return
  end
  redis.call("HINCRBY", parent.key, FAILING, -1)
  local whole = redis.call("HGET", parent.key, FAILING_OF)
  if whole and string.find(whole, "child " .. parent.member .. " failed: ", 1, true) == 1 then
    redis.call("HDEL", parent.key, FAILING_OF)
  end
end

-- What may be heard of a child. Each of these is said any number of times; only the first one counts.
local HEARD = {}

function HEARD.completed(settlement, parent, value)
  forgive(parent)
  if parent.has_failed then -- and was tried again
    redis.call("HDEL", parent.key, FAILED .. parent.member)
  end
  if value and (parent.has_failed or not parent.is_done) then
    redis.call("HSET", parent.key, VALUE .. parent.member, value)
  end
  if not parent.is_done then
    mark(settlement, parent)
  end
end

function HEARD.fail_parent(settlement, parent, reason)
  if parent.is_done or parent.has_failed then
    return
  end
  local whole = "child " .. parent.member .. " failed: " .. reason
  redis.call("HSET", parent.key, FAILED .. parent.member, reason, FAILING_OF, whole)
  redis.call("HINCRBY", parent.key, FAILING, 1)
  if States.allows("fail_by_child", parent.state) then
    fail(settlement, parent.id, whole)
  end
end

function HEARD.ignore(settlement, parent, reason)
  if parent.is_done then
    return false
  end
  forgive(parent)
  redis.call("HSET", parent.key, FAILED .. parent.member, reason)
  return true, mark(settlement, parent)
end

HEARD["continue"] = function(settlement, parent, reason)
  local is_news, woken = HEARD.ignore(settlement, parent, reason)
  if not is_news or woken then
    return
  elseif States.allows("wake", parent.state) then
    start_again(settlement, parent.id, parent.name)
  elseif parent.state == "active" then -- others see it when they run
    redis.call("HSET", parent.key, WAKE, Lease.bare(redis.call("HGET", parent.key, Lease.RUN)))
  end
end

function HEARD.remove(settlement, parent)
  local keys = settlement.keys
  if parent.is_done or redis.call("SREM", keys.deps .. parent.id, parent.member) == 0 then
    return
  end
  forgive(parent)
  redis.call("HDEL", parent.key, FAILED .. parent.member)
  redis.call("HSET", parent.key, DONE .. parent.member, FORGOTTEN)
  local done = tonumber(redis.call("HGET", parent.key, COMPLETED_COUNT)) or 0
  if States.allows("wake", parent.state) and is_complete(keys, parent.id, done) then
    start_again(settlement, parent.id, parent.name)
  end
end

-- Nobody finds the child.
function HEARD.missing(settlement, parent)
  local since = redis.call("HGET", parent.key, MISSING .. parent.member)
  if not since then
    redis.call("HSET", parent.key, MISSING .. parent.member, settlement.now)
  elseif settlement.now - tonumber(since) >= PATIENCE_MS then
    HEARD.fail_parent(settlement, parent, "it cannot be found")
  end
end

function Dependencies.knows(what)
  return HEARD[what] ~= nil
end

-- News of the child `member`: "completed" with its return value (false: it can be read in the child's hash), or what its
-- failure means for this parent, with the reason.
function Dependencies.hear(settlement, parent_id, member, what, text)
  local parent = read(settlement.keys, parent_id, member)
  if parent then
    HEARD[what](settlement, parent, text)
  end
end

-- What the books of a parent say of a child: whether it need not be waited for, why it failed or false, and whether its
-- return value is kept here.
function Dependencies.about(keys, id, member)
  local fields = redis.call("HMGET", keys.job .. id, DONE .. member, FAILED .. member)
  return fields[1] ~= false, fields[2], redis.call("HEXISTS", keys.job .. id, VALUE .. member) == 1
end

-- Notes the children of a job that is about to wait for them.
function Dependencies.add(keys, id, members)
  for first = 1, #members, CHUNK do
    redis.call("SADD", keys.deps .. id, unpack(members, first, math.min(first + CHUNK - 1, #members)))
  end
end

-- Notes one more child of a job that exists, perhaps running; the child does not exist yet. If an earlier job of its
-- name was one, too, that one counts no more.
function Dependencies.expect(keys, id, member)
  local job = keys.job .. id
  local fields = redis.call("HMGET", job, "id", DONE .. member)
  if not fields[1] then
    return
  end
  if fields[2] then
    redis.call("HDEL", job, DONE .. member, FAILED .. member, VALUE .. member)
    if fields[2] ~= FORGOTTEN then
      redis.call("HINCRBY", job, COMPLETED_COUNT, -1)
    end
  end
  redis.call("HDEL", job, MISSING .. member)
  redis.call("SADD", keys.deps .. id, member)
end

-- The job waits for its children from now on.
function Dependencies.await(keys, id, now)
  redis.call("ZADD", keys.parent_looks, now + LOOK_AFTER_MS, id)
end

-- The waiting parents whose look is due, at most `limit`; the next look at them is arranged for.
function Dependencies.due_looks(keys, now, limit)
  local waiting = {}
  for _, id in ipairs(redis.call("ZRANGE", keys.parent_looks, "-inf", now, "BYSCORE", "LIMIT", 0, limit)) do
    local job = redis.pcall("HMGET", keys.job .. id, "state", "timestamp")
    if job.err or not States.allows("wake", job[1]) then
      redis.call("ZREM", keys.parent_looks, id)
    else
      local waited = now - (tonumber(job[2]) or now)
      local look = math.max(math.min(waited / 2, LONGEST_LOOK_MS), LOOK_AFTER_MS)
      redis.call("ZADD", keys.parent_looks, math.floor(now + look), id)
      waiting[#waiting + 1] = id
    end
  end
  return waiting
end

-- A run has ended and the job waits for its children; if there is nothing to wait for, it runs again at once, and if a
-- child's failure concerns it, it fails. `run` replaces the holder's token. Returns whether it lives on.
function Dependencies.park(settlement, id, run)
  local keys = settlement.keys
  local job = keys.job .. id
  local fields = redis.call("HMGET", job, COMPLETED_COUNT, FAILING, FAILING_OF, WAKE, "name")
  if (tonumber(fields[2]) or 0) > 0 then
    fail(settlement, id, fields[3] or "a child failed", Lease.RUN, run)
    return false
  end
  local wakes = fields[4] == Lease.bare(run)
  if fields[4] then
    redis.call("HDEL", job, WAKE)
  end
  if wakes or is_complete(keys, id, tonumber(fields[1]) or 0) then
    redis.call("HSET", job, Lease.RUN, run)
    start_again(settlement, id, fields[5])
    return true
  end
  States.enter(keys, id, "waiting-children", Lease.RUN, run)
  Dependencies.await(keys, id, settlement.now)
  settlement:event("waiting-children", id)
  return true
end
