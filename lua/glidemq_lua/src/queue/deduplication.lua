-- Deduplication: whether an add repeats an earlier one with the same deduplication id, and what becomes of that one.
--
-- `extra.dedup` of an add's row is {id, mode, ttl_ms}. Modes: `simple` skips while the earlier job exists, in whatever
-- state; `throttle` skips until ttl_ms after the last accepted add; `debounce` delays the job by ttl_ms at least, and
-- the next add takes its place if it has not started by then.
--
-- `P:dedup` maps an id to `<job id>:<ms of the add>`. Node never removes an entry; here each has a member
-- `<job id>:<dedup id>` in `P:x-py:dedup`, whose score says when to look at it. A look ends the entry when its job is
-- gone and its window is over. Entries that Node wrote are found by chance, and given a week.
local Deduplication = {}

local MODES = { simple = true, throttle = true, debounce = true }
local PENDING = { delayed = true, prioritized = true, waiting = true, ["group-waiting"] = true }
local LARGEST_MS = 2 ^ 41

-- An entry is looked at again when it has become four times as old: it outlives its job by no more than that.
local FIRST_LOOK_MS = 60000
local AGES = 3
local LONGEST_MS = 7 * 86400000
local LOOKS_PER_ADD, LOOKS_PER_CALL = 8, 1000
local SAMPLE = 4

-- Where a withdrawn job waits is searched that far, about 2 us a place. An id that is not found is dropped by whoever
-- reads it, as its job is gone.
local PLACES = 500
local SEARCHES_PER_CALL = 8

-- The fault of `extra.dedup`, or nil.
function Deduplication.fault(dedup)
  if type(dedup) ~= "table" or type(dedup.id) ~= "string" or dedup.id == "" then
    return "dedup must be a map with an id"
  elseif not MODES[dedup.mode] then
    return "dedup.mode must be simple, throttle or debounce"
  end
  local ttl_ms = dedup.ttl_ms or 0
  if type(ttl_ms) ~= "number" or ttl_ms < 0 or ttl_ms > LARGEST_MS or ttl_ms % 1 ~= 0 then
    return "dedup.ttl_ms must be a whole number of milliseconds"
  elseif dedup.mode ~= "simple" and ttl_ms == 0 then
    return "dedup.mode " .. dedup.mode .. " needs a ttl_ms"
  end
  return nil
end

-- The job id and the time of an entry; the time is nil if it is no number.
local function read(keys, dedup_id)
  local value = redis.call("HGET", keys.dedup, dedup_id)
  if not value then
    return nil, nil
  end
  local id, at = string.match(value, "^([^:]*):?(.*)$")
  return id, tonumber(at)
end

-- Whether the job may be replaced: a processor never saw it, and no parent waits for this very job. One that was
-- given back has no processedOn any more, but its counts tell.
local function is_replaceable(keys, id)
  local job = redis.pcall(
    "HMGET", keys.job .. id, "state", "processedOn", "attemptsMade", "parentId", "parentIds", "x-py:crashes",
    "stalledCount", Restarts.FIELD, Suspension.WAITED
  )
  return not job.err and PENDING[job[1]] ~= nil and (not job[2] or job[2] == "") and (tonumber(job[3]) or 0) == 0
    and not (job[4] or job[5] or job[6] or job[7] or job[8] or job[9])
end

-- Whether the add is accepted; the id of the job of the last accepted one, or nil; and whether it takes that one's place.
function Deduplication.admits(keys, dedup, now)
  local id, at = read(keys, dedup.id)
  if not id then
    return true, nil, false
  elseif dedup.mode == "simple" then
    return redis.call("EXISTS", keys.job .. id) == 0, id, false
  elseif dedup.mode == "throttle" then
    return not at or now - at >= dedup.ttl_ms, id, false
  end
  return true, id, is_replaceable(keys, id)
end

local function leave_list(list, id)
  if redis.call("LPOS", list, id, "MAXLEN", PLACES) then
    redis.call("LREM", list, 1, id)
  elseif redis.call("LPOS", list, id, "RANK", -1, "MAXLEN", PLACES) then
    redis.call("LREM", list, -1, id)
  end
end

-- A debounced job was promoted when it fell due.
local function leave_stream(keys, id, due)
  local entry_id = Entries.search(keys, id, { { string.format("%.0f-0", due), "+" } }, PLACES)
  if entry_id then
    Ready.drop(keys, { entry_id })
  end
end

local STATE, TIMESTAMP, DELAY, GROUP_KEY, LIFO, PRIORITY = 1, 2, 3, 4, 5, 6

local function leave(keys, id, job, call)
  redis.call("ZREM", keys.scheduled, id)
  if job[STATE] == "group-waiting" and job[GROUP_KEY] then
    redis.call("ZREM", keys.groupq .. job[GROUP_KEY], id)
  elseif job[STATE] == "waiting" then
    call.searches = (call.searches or 0) + 1
    if call.searches > SEARCHES_PER_CALL then
      return
    elseif job[LIFO] == "1" then
      leave_list(keys.lifo, id)
    elseif (tonumber(job[PRIORITY]) or 0) > 0 then
      leave_list(keys.priority, id)
    else
      leave_stream(keys, id, (tonumber(job[TIMESTAMP]) or 0) + (tonumber(job[DELAY]) or 0))
    end
  end
end

-- Deletes the pending job that a newer one replaces; its group goes on. `call` is a table that lives as long as the
-- server call.
function Deduplication.replace(keys, id, now, events, call)
  local job = redis.call("HMGET", keys.job .. id, "state", "timestamp", "delay", "groupKey", "lifo", "priority")
  leave(keys, id, job, call)
  local settlement = Settlement.open(keys, now, { events = events })
  settlement:gone(id)
  settlement:close()
  Retention.unlink(keys, { id })
  if events then
    Events.emit(keys, "removed", id)
  end
end

-- Looks at one entry when its time has come.
local function look(keys, member, now)
  local id, dedup_id = string.match(member, "^([^:]*):(.*)$")
  local current, at = read(keys, dedup_id)
  if current ~= id then
    redis.call("ZREM", keys.dedup_looks, member) -- another add has taken the id over
  elseif redis.call("EXISTS", keys.job .. id) == 1 then
    local wait_ms = math.min(math.max((now - (at or now)) * AGES, FIRST_LOOK_MS), LONGEST_MS)
    redis.call("ZADD", keys.dedup_looks, now + wait_ms, member)
  else
    redis.call("HDEL", keys.dedup, dedup_id)
    redis.call("ZREM", keys.dedup_looks, member)
  end
end

-- Takes note of entries that have no member yet: nobody but their writer knows how long their windows are.
local function find_foreign(keys, now)
  if redis.call("HLEN", keys.dedup) <= redis.call("ZCARD", keys.dedup_looks) then
    return
  end
  local sample = redis.call("HRANDFIELD", keys.dedup, SAMPLE, "WITHVALUES")
  for index = 1, #sample, 2 do
    local id, at = string.match(sample[index + 1], "^([^:]*):?(.*)$")
    redis.call("ZADD", keys.dedup_looks, "NX", (tonumber(at) or now) + LONGEST_MS, id .. ":" .. sample[index])
  end
end

-- Removes what is of no use any more, looking at no more than `most` entries.
function Deduplication.prune(keys, now, most)
  local due = redis.call("ZRANGE", keys.dedup_looks, "-inf", now, "BYSCORE", "LIMIT", 0, most)
  for _, member in ipairs(due) do
    look(keys, member, now)
  end
  find_foreign(keys, now)
end

-- The add is accepted: later ones with this deduplication id are measured by it, no more by `earlier`.
function Deduplication.note(keys, dedup, id, earlier, now, call)
  if earlier and earlier ~= id then
    redis.call("ZREM", keys.dedup_looks, earlier .. ":" .. dedup.id)
  end
  redis.call("HSET", keys.dedup, dedup.id, id .. ":" .. string.format("%.0f", now))
  local first_look = now + math.max(dedup.ttl_ms or 0, FIRST_LOOK_MS)
  redis.call("ZADD", keys.dedup_looks, first_look, id .. ":" .. dedup.id)
  call.looks = (call.looks or 0) + LOOKS_PER_ADD
end

-- To be called when all adds of a server call are done.
function Deduplication.finish(keys, now, call)
  if call.looks then
    Deduplication.prune(keys, now, math.min(call.looks, LOOKS_PER_CALL))
  end
end
