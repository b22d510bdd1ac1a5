-- Adding: a job comes into being - its id, its hash, its place. Producers' calls and schedulers go the same way.
--
-- A row is positional: 1 name, 2 data, 3 opts, 4 delay_ms, 5 priority, 6 lifo (0 or 1), 7 ttl_ms, 8 attempts,
-- 9 custom id, 10 parent id, 11 parent queue, 12 extra {schedulerName; ordering and cost, see Ordering; dedup, see
-- Deduplication; children and parents, see write_family; budget, the key of its flow's}; false where absent.
local Adding = {}

local PARENTS_AT_ONCE = 5000 -- unpack stops at 7,999

local function dedup_of(row)
  return row[12] and row[12].dedup or nil
end

-- Whole numbers above this are not exact in Lua. A custom id may bring the counter there.
local EXACT = 9007199254740991

-- Yields automatic ids, one INCR each.
function Adding.counter(keys)
  return function()
    local id = redis.call("INCR", keys.id)
    return id > EXACT and redis.call("GET", keys.id) or string.format("%.0f", id)
  end
end

-- Automatic ids are reserved in one go, unless a custom id among the rows may move the counter between them, or a row
-- may turn out to need none.
-- given: an id that was given before, if the caller knows one: a replica that takes over may have an older counter, and
-- what ran under a lost job's id must not meet another job there. A queue that has no counter begins anew.
-- Returns a function that yields the next one, or nil when somebody wrote a counter that is no integer.
function Adding.id_source(keys, rows, given)
  local automatic, one_by_one = 0, false
  for _, row in ipairs(rows) do
    automatic = automatic + (row[9] and 0 or 1)
    one_by_one = one_by_one or row[9] ~= false or dedup_of(row) ~= nil
  end
  if automatic == 0 then
    return function() end
  end
  local reserved = one_by_one and 0 or automatic
  local last = redis.pcall("INCRBY", keys.id, reserved)
  if type(last) ~= "number" then
    return nil
  end
  local behind = given and last > reserved and given <= EXACT and given - (last - reserved) or 0
  if behind > 0 then
    last = redis.call("INCRBY", keys.id, string.format("%.0f", behind))
  end
  if one_by_one then
    return Adding.counter(keys)
  elseif last > EXACT then
    redis.call("DECRBY", keys.id, automatic)
    return Adding.counter(keys)
  end
  local id = last - automatic
  return function()
    id = id + 1
    return string.format("%.0f", id)
  end
end

-- Later automatic ids must not run into a numeric custom one. Others, such as 007, cannot collide with them.
function Adding.advance_counter(keys, custom_id)
  if string.match(custom_id, "^[1-9]%d*$") and #custom_id <= 16 then
    local counter = tonumber(redis.call("GET", keys.id)) or 0
    if tonumber(custom_id) > counter then
      redis.call("SET", keys.id, custom_id)
    end
  end
end

-- Joins the group, if there is one. A parent takes its place there when it is ready: its children may be of the same
-- group, and be added later. Returns the fields of the hash that tell of group and cost.
local function constraints(keys, extra, now)
  local fields = {}
  if extra and extra.ordering then
    fields[1], fields[2] = "groupKey", extra.ordering.key
    if extra.children then
      Ordering.settle(keys, extra.ordering, now)
    else
      fields[3], fields[4] = "orderingSeq", Ordering.join(keys, extra.ordering, now)
    end
  end
  if extra and (extra.cost or 0) > 0 then
    fields[#fields + 1] = "cost"
    fields[#fields + 1] = extra.cost
  end
  return fields
end

-- The optional fields, in the order in which Node writes them.
local function optional_fields(keys, row, now)
  local fields = constraints(keys, row[12], now)
  if row[7] > 0 then
    local size = #fields
    fields[size + 1], fields[size + 2] = "expireAt", now + row[7]
  end
  if row[10] then
    local size = #fields
    fields[size + 1], fields[size + 2] = "parentId", row[10]
    if row[11] then
      fields[size + 3], fields[size + 4] = "parentQueue", row[11]
    end
  end
  if row[12] and row[12].schedulerName then
    local size = #fields
    fields[size + 1], fields[size + 2] = "schedulerName", row[12].schedulerName
  end
  if row[6] == 1 then
    local size = #fields
    fields[size + 1], fields[size + 2] = "lifo", "1"
  end
  return fields
end

-- The key of the budget of the flow that the job joins, or nil. A child that is added while its parent runs joins the
-- parent's.
local function budget_key_of(keys, row)
  if row[12] and row[12].budget then
    return row[12].budget
  elseif row[10] and row[11] == Keys.queue_name(keys) then
    return redis.call("HGET", keys.job .. row[10], "budgetKey") or nil
  end
  return nil
end

local function write_hash(keys, id, row, now, state)
  local job = keys.job .. id
  if row[7] <= 0 and not row[10] and row[6] ~= 1 and not row[12] then
    redis.call(
      "HSET", job, "id", id, "name", row[1], "data", row[2], "opts", row[3], "timestamp", now, "attemptsMade", "0",
      "delay", row[4], "priority", row[5], "maxAttempts", row[8], "state", state
    )
    return
  end
  local fields = optional_fields(keys, row, now)
  fields[#fields + 1] = "state"
  fields[#fields + 1] = state
  local budget_key = budget_key_of(keys, row)
  if budget_key then
    fields[#fields + 1] = "budgetKey"
    fields[#fields + 1] = budget_key
  end
  redis.call(
    "HSET", job, "id", id, "name", row[1], "data", row[2], "opts", row[3], "timestamp", now, "attemptsMade", "0",
    "delay", row[4], "priority", row[5], "maxAttempts", row[8], unpack(fields)
  )
end

-- Returns the due time of a scheduled job, and whether somebody asleep must hear of it: list work, or a due time
-- before all others of its class.
local function place(keys, id, row, now)
  local delay, priority = row[4], row[5]
  if delay > 0 then
    local due = now + delay
    Delayed.add(keys, id, priority, due)
    return due, Delayed.head(keys, Delayed.score(priority, 0)) == id
  elseif priority > 0 then
    Delayed.add(keys, id, priority, 0)
    return now, true
  elseif row[6] == 1 then
    redis.call("RPUSH", keys.lifo, id)
    return nil, true
  end
  Ready.append(keys, id, row[1])
  return nil, false
end

-- A parent waits for `children`, its members of the set `deps`. A job with several parents names them in `parents`:
-- {ids, queues (both JSON arrays, as Node writes them), members of its set `parents`}.
local function write_family(keys, id, extra, now)
  if extra.children then
    Dependencies.add(keys, id, extra.children)
    Dependencies.await(keys, id, now)
  end
  if extra.parents then
    redis.call("HSET", keys.job .. id, "parentIds", extra.parents[1], "parentQueues", extra.parents[2])
    for first = 1, #extra.parents[3], PARENTS_AT_ONCE do
      local last = math.min(first + PARENTS_AT_ONCE - 1, #extra.parents[3])
      redis.call("SADD", keys.parents .. id, unpack(extra.parents[3], first, last))
    end
  end
end

local function state_of(row)
  if row[12] and row[12].children then
    return "waiting-children"
  elseif row[4] > 0 then
    return "delayed"
  end
  return row[5] > 0 and "prioritized" or "waiting"
end

-- The job's id, or nil if its custom one is taken; by `replaced`, a job that is about to go, it is not.
local function id_of(keys, row, next_id, replaced)
  local id = row[9]
  if not id then
    return next_id()
  elseif id ~= replaced and redis.call("EXISTS", keys.job .. id) == 1 then
    return nil
  end
  Adding.advance_counter(keys, id)
  return id
end

-- Adds one job. Returns its id or false (an earlier add of the same deduplication id counts, or its custom id exists),
-- and what `place` says. `call` is a table that lives as long as the server call.
function Adding.add(keys, row, now, next_id, events, call)
  local dedup, earlier, replaces = dedup_of(row), nil, false
  if dedup then
    local admitted
    admitted, earlier, replaces = Deduplication.admits(keys, dedup, now)
    if not admitted then
      return false
    end
  end
  local id = id_of(keys, row, next_id, replaces and earlier)
  if not id then
    return false
  end
  if replaces then
    Deduplication.replace(keys, earlier, now, events, call)
  end
  if dedup and dedup.mode == "debounce" then
    row[4] = math.max(row[4], dedup.ttl_ms)
  end
  local state = state_of(row)
  write_hash(keys, id, row, now, state)
  if row[10] and row[11] == Keys.queue_name(keys) then
    Dependencies.expect(keys, row[10], Keys.member(keys, id))
  end
  if row[12] then
    write_family(keys, id, row[12], now)
  end
  local due, rings = nil, false
  if state ~= "waiting-children" then
    due, rings = place(keys, id, row, now)
  end
  if dedup then
    Deduplication.note(keys, dedup, id, earlier, now, call)
  end
  if events then
    Events.emit(keys, "added", id, "name", row[1])
  end
  return id, due, rings
end
