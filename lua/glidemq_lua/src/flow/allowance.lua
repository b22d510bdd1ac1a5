-- Allowance: a job's side of its flow's budget. A job with a `budgetKey` starts only when the budget (see Budget) lets it,
-- and tells how its run ended. A budget of the same queue answers in the same call. Another queue may be another slot:
-- the job asks by letter and waits as a delayed one, which asks again should the answer be lost; so no slot is held.
--
-- `P:x-py:allowances` holds a record for each job that has asked, is held back or runs: {phase, prefix and flow of the budget, version,
-- when}. Whatever way a job leaves its run, the end of the call that does it notices here.
local Allowance = {}

Allowance.KIND = "budget"
Allowance.EXCEEDED = "Budget exceeded"

local ASKED, GRANTED, STARTED, HELD = 1, 2, 3, 4

-- Without an answer, ask again. Answers take milliseconds; these are for lost ones.
local ASK_AGAIN_MS, LOOK_AGAIN_MS = 5000, 15000
local PAUSE_MS = 86400000
-- A grant that was not used for so long is asked for anew, before its reservation becomes void.
local GRANT_KEPT_MS = 1800000
local KEPT_MS = 7 * 86400000
-- Of a job's parents, so many may be running and wait for it.
local PARENTS = 16
local LOOKS_AT_ONCE = 200

local USAGE = { "id", "timestamp", "usage:tokens", "usage:totalTokens", "usage:costs", "usage:totalCost" }

local function split(budget_key)
  return string.match(budget_key, "^(.-}):budget:(.+)$")
end

-- Grows with every statement, also over a failover to a replica that had not heard of the last ones.
local function next_version(keys, now)
  local last = tonumber(redis.call("GET", keys.statements)) or 0
  local version = math.max(last + 1, now * 1000)
  redis.call("SET", keys.statements, string.format("%.0f", version), "PX", KEPT_MS)
  return version
end

-- All that the job has used, and when it was added; or false when it is gone.
local function usage_of(keys, id)
  local values = redis.pcall("HMGET", keys.job .. id, unpack(USAGE))
  if values.err or not values[1] then
    return false
  end
  return {
    born = tonumber(values[2]) or 0,
    tokens = JsonValue.read_numbers(values[3]),
    total_tokens = tonumber(values[4]) or 0,
    costs = JsonValue.read_numbers(values[5]),
    total_cost = tonumber(values[6]) or 0,
  }
end

local function read(keys, id)
  local stored = redis.call("HGET", keys.allowances, id)
  return stored and cmsgpack.unpack(stored) or nil
end

local function note(settlement, id, phase, prefix, flow, version)
  local keys = settlement.keys
  redis.call("HSET", keys.allowances, id, cmsgpack.pack({ phase, prefix, flow, version, settlement.now }))
  redis.call("PEXPIRE", keys.allowances, KEPT_MS)
end

-- Returns the answer if the budget is in this queue.
local function state(settlement, id, prefix, flow, version, what, stated, usage, parents)
  local keys = settlement.keys
  local member = Keys.member(keys, id)
  if prefix == keys.prefix then
    return Budget.hear(settlement, flow, member, version, what, stated, usage, parents)
  end
  local row = { flow, member, version, what, stated, usage, parents or false }
  Outbox.post(settlement, Allowance.KIND, prefix, cmsgpack.pack(row))
  return nil
end

local function tell_end(settlement, id, record, what, usage)
  local keys = settlement.keys
  redis.call("HDEL", keys.allowances, id)
  state(settlement, id, record[2], record[3], next_version(keys, settlement.now), what, false, usage)
end

local function park(settlement, id, priority, delay_ms)
  Delayed.add(settlement.keys, id, tonumber(priority) or 0, settlement.now + delay_ms)
  States.enter(settlement.keys, id, "delayed", "delay", delay_ms)
end

-- The budget does not let the job start now, or ever. The job is in nobody's hands. `record`: of its question, if the
-- budget is elsewhere: the letter that lets it ask again names that, since by then the job may have run and wait for
-- something else.
local function hold_back(settlement, id, verdict, priority, flow, record)
  local keys = settlement.keys
  if record and verdict ~= Budget.FAIL then
    note(settlement, id, HELD, record[2], flow, record[4])
  else
    redis.call("HDEL", keys.allowances, id)
  end
  if verdict ~= Budget.FAIL and verdict ~= Budget.PAUSE then
    park(settlement, id, priority, LOOK_AGAIN_MS)
    return
  end
  settlement.refused[#settlement.refused + 1] = { id, flow }
  settlement:event("budget-exceeded", id, "flowId", flow, "onExceeded", verdict)
  if verdict == Budget.PAUSE then
    park(settlement, id, priority, PAUSE_MS)
    settlement:event("delay-changed", id, "delay", PAUSE_MS)
    return
  end
  local policy = Retention.of_options(redis.call("HGET", keys.job .. id, "opts"), "removeOnFail")
  Ending.fail(settlement, id, Allowance.EXCEEDED, false, policy)
end

-- Every start of a job with a budget asks here; `assumed` is its processor's estimate, or nil. False: it has gone
-- elsewhere.
function Allowance.admit(settlement, id, values, assumed)
  local keys, now = settlement.keys, settlement.now
  local prefix, flow = split(Record.budget_key(values))
  if not prefix then
    return true
  end
  local record = read(keys, id)
  if record and record[1] == GRANTED and now - record[5] < GRANT_KEPT_MS then
    note(settlement, id, STARTED, prefix, flow, record[4])
    return true
  end
  local version = next_version(keys, now)
  local stated = Estimate.of(Record.opts(values), assumed)
  local parents = Record.parents(keys, id, values, PARENTS)
  local verdict = state(settlement, id, prefix, flow, version, "ask", stated, usage_of(keys, id), parents)
  if prefix ~= keys.prefix then
    note(settlement, id, ASKED, prefix, flow, version)
    park(settlement, id, Record.priority(values), ASK_AGAIN_MS)
    return false
  elseif verdict == Budget.GRANTED then
    note(settlement, id, STARTED, prefix, flow, version)
    return true
  elseif verdict == Budget.FREE then
    return true
  end
  hold_back(settlement, id, verdict, Record.priority(values), flow)
  return false
end

-- Something else keeps the job from starting.
function Allowance.give_back(settlement, id)
  local record = read(settlement.keys, id)
  if record then
    tell_end(settlement, id, record, "return", usage_of(settlement.keys, id))
  end
end

-- The job reports what it has used, all its runs together.
function Allowance.used(settlement, id, budget_key)
  local prefix, flow = split(budget_key)
  if prefix then
    local keys = settlement.keys
    state(settlement, id, prefix, flow, next_version(keys, settlement.now), "use", false, usage_of(keys, id))
  end
end

-- A delayed job becomes ready; false when it is not one.
local function promote(settlement, id)
  local keys = settlement.keys
  local job = redis.pcall("HMGET", keys.job .. id, "state", "name", "lifo", "priority")
  if job.err or job[1] ~= "delayed" or redis.call("ZREM", keys.scheduled, id) == 0 then
    return false
  end
  if Promotion.place(keys, id, tonumber(job[4]) or 0, job[2], job[3]) then
    Ready.ring(keys)
  end
  States.enter(keys, id, "waiting", "delay", "0")
  settlement:event("promoted", id)
  return true
end

-- The budget has room again, or is larger: the job asks once more.
Budget.again = promote

-- What a budget in another queue has answered.
function Allowance.answer(settlement, id, version, verdict)
  local keys = settlement.keys
  local record = read(keys, id)
  if verdict == "again" then
    if record and record[1] == HELD and version >= record[4] then -- else it has asked meanwhile, perhaps run
      redis.call("HDEL", keys.allowances, id)
      promote(settlement, id)
    end
    return
  elseif not record or record[1] ~= ASKED or record[4] ~= version then
    return
  elseif verdict == Budget.GRANTED or verdict == Budget.FREE then
    note(settlement, id, GRANTED, record[2], record[3], version)
    promote(settlement, id)
    return
  end
  local job = redis.pcall("HMGET", keys.job .. id, "state", "priority")
  if not job.err and job[1] == "delayed" and redis.call("ZREM", keys.scheduled, id) == 1 then
    hold_back(settlement, id, verdict, job[2], record[3], record)
  else
    redis.call("HDEL", keys.allowances, id) -- it is on its way to a start, and asks again there
  end
end

local ENDED = { completed = true, failed = true }

local function follow_one(settlement, id, is_gone)
  local record = read(settlement.keys, id)
  if not record then
    return
  end
  local job = redis.call("HGET", settlement.keys.job .. id, "state")
  if is_gone or not job or ENDED[job] or record[1] == STARTED and job ~= "active" then
    local what = record[1] == STARTED and job ~= "waiting" and "end" or "return"
    tell_end(settlement, id, record, what, usage_of(settlement.keys, id))
  end
end

-- Looks at jobs that have a reservation, for those that have ended without this library: a Node worker took them, say,
-- which tells the budget itself what a completed one has used, and nothing of failed ones.
function Allowance.look_around(settlement)
  local keys = settlement.keys
  local sample = redis.call("HRANDFIELD", keys.allowances, LOOKS_AT_ONCE)
  for _, id in ipairs(sample) do
    local job = redis.pcall("HGET", keys.job .. id, "state")
    if not job or ENDED[job] then
      tell_end(settlement, id, read(keys, id), "return", job == "failed" and usage_of(keys, id))
    end
  end
end

-- Looks at the jobs that this call has changed since the last look, and at those that have ended or are removed.
local function follow(settlement)
  local keys, gone = settlement.keys, settlement.ended
  local changed, first = keys.changed, keys.followed + 1
  if first > #changed and #gone == 0 then
    return
  end
  keys.followed = #changed
  if redis.call("EXISTS", keys.allowances) == 0 then
    return
  end
  for number = first, keys.followed do
    follow_one(settlement, changed[number], false)
  end
  for _, id in ipairs(gone) do
    follow_one(settlement, id, true)
  end
  keys.followed = #changed -- those woken have no record yet
end

Settlement.follow = follow

local after_changes = Library.after_changes
Library.after_changes = function(keys, now)
  follow(Settlement.open(keys, now, {}))
  after_changes(keys, now)
end
