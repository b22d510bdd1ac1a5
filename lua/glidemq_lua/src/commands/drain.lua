-- drain: delete the jobs that wait, prioritized ones included, and on demand the delayed ones, in bounded rounds.
-- Moves:  waiting, prioritized, delayed -> (gone); running, parked, suspended jobs and waiting parents stay
-- Keys:   stream, priority, lifo, scheduled; jobs and their satellites, groups, schedulers, events
-- Args:   delayed (boolean), resume (from the last reply; absent at first)
-- Reply:  ["more", deleted so far, resume] | ["done", deleted]
--         What is added after the first round stays.
-- Errors: bad_argument
-- Events: drained (the job id is the number of jobs), once
local SPEC = { delayed = "boolean", resume = "?table" }

-- Jobs and priority classes looked at per call, about 5 us each.
local BUDGET = 500

-- A resume, by position.
local PHASE, LAST_ENTRY, RETURNED, PRIORITY, LIFO, SCHEDULED, CLASS, DELETED = 1, 2, 3, 4, 5, 6, 7, 8
local RESUME = { "number", "string", "number", "number", "number", "number", "number", "number" }

local function start(keys)
  local last = redis.call("XREVRANGE", keys.stream, "+", "-", "COUNT", 1)[1]
  local _, returned = Ready.pending(keys)
  return {
    1, last and last[1] or "", returned, redis.call("LLEN", keys.priority), redis.call("LLEN", keys.lifo),
    redis.call("ZCARD", keys.scheduled), 1, 0,
  }
end

-- A ready id may be the echo of a job that lives elsewhere. Node writes these states after the sorted set, which is
-- the truth.
local function is_ready(keys, id, state)
  return state == "waiting"
    or (state == "delayed" or state == "prioritized") and not redis.call("ZSCORE", keys.scheduled, id)
end

local function is_scheduled(_, _, state)
  return States.allows("promote", state)
end

-- Deletes those jobs of `ids` that stand where they should.
local function delete(keys, progress, ids, now, belongs)
  local doomed = {}
  local settlement = Settlement.open(keys, now, {})
  for _, id in ipairs(ids) do
    local state = redis.pcall("HGET", keys.job .. id, "state")
    if type(state) == "string" and belongs(keys, id, state) then
      doomed[#doomed + 1] = id
      settlement:gone(id)
    end
  end
  settlement:close()
  Retention.unlink(keys, doomed)
  progress[DELETED] = progress[DELETED] + #doomed
end

local function delete_entries(keys, progress, entries, now)
  local entry_ids, ids = {}, {}
  for index, entry in ipairs(entries) do
    entry_ids[index] = entry[1]
    ids[#ids + 1] = Ready.job_id(entry[2])
  end
  Ready.drop(keys, entry_ids)
  delete(keys, progress, ids, now, is_ready)
  return #entries
end

-- Each phase takes at most `count` elements out of its structure and returns how many it has looked at: 0 when there
-- are no more.
local PHASES = {
  function(keys, progress, now, count)
    count = math.min(count, progress[RETURNED])
    if count <= 0 then
      return 0
    end
    progress[RETURNED] = progress[RETURNED] - count
    return delete_entries(keys, progress, Ready.read_pending(keys, Ready.RETURNED, count, "0"), now)
  end,
  function(keys, progress, now, count)
    if progress[LAST_ENTRY] == "" then
      return 0
    end
    local delivered = Entries.last_delivered(keys)
    local first = delivered and "(" .. delivered or "-"
    local entries = redis.call("XRANGE", keys.stream, first, progress[LAST_ENTRY], "COUNT", count)
    return delete_entries(keys, progress, entries, now)
  end,
  -- Lists give up their oldest elements: promotion pushes on the left, adding on the right.
  function(keys, progress, now, count)
    count = math.min(count, progress[PRIORITY])
    local ids = count > 0 and redis.call("RPOP", keys.priority, count) or {}
    progress[PRIORITY] = progress[PRIORITY] - #ids
    delete(keys, progress, ids, now, is_ready)
    return #ids
  end,
  function(keys, progress, now, count)
    count = math.min(count, progress[LIFO])
    local ids = count > 0 and redis.call("LPOP", keys.lifo, count) or {}
    progress[LIFO] = progress[LIFO] - #ids
    delete(keys, progress, ids, now, is_ready)
    return #ids
  end,
  -- Prioritized jobs wait for slots alone, like those in the lists, where Node's promotion would have put them.
  function(keys, progress, now, count)
    local id, class, due = Delayed.head(keys, Delayed.score(progress[CLASS], 0))
    count = math.min(count, progress[SCHEDULED])
    if not id or count <= 0 then
      return 0
    end
    progress[CLASS] = class
    if due > 0 then
      progress[CLASS] = class + 1
      return 1
    end
    local score = Delayed.score(class, 0)
    local ids = redis.call("ZRANGE", keys.scheduled, score, score, "BYSCORE", "LIMIT", 0, count)
    redis.call("ZREM", keys.scheduled, unpack(ids))
    progress[SCHEDULED] = progress[SCHEDULED] - #ids
    delete(keys, progress, ids, now, is_scheduled)
    return #ids
  end,
  function(keys, progress, now, count)
    count = math.min(count, progress[SCHEDULED])
    local ids = count > 0 and redis.call("ZRANGE", keys.scheduled, 0, count - 1) or {}
    if #ids > 0 then
      redis.call("ZREM", keys.scheduled, unpack(ids))
    end
    progress[SCHEDULED] = progress[SCHEDULED] - #ids
    delete(keys, progress, ids, now, is_scheduled)
    return #ids
  end,
}

Library.command("drain", { "allow-oom" }, SPEC, function(keys, args, now)
  local progress = args.resume or start(keys)
  local fault = Arguments.row_fault({ progress }, RESUME)
  if fault then
    return Replies.bad_argument("resume: " .. fault)
  end
  local last = args.delayed and #PHASES or #PHASES - 1
  local budget = BUDGET
  while progress[PHASE] <= last and budget > 0 do
    local seen = PHASES[progress[PHASE]](keys, progress, now, budget)
    if seen == 0 then
      progress[PHASE] = progress[PHASE] + 1
    end
    budget = budget - seen
  end
  if progress[PHASE] <= last then
    return Replies.pack("more", progress[DELETED], progress)
  end
  if progress[DELETED] > 0 then
    Events.emit(keys, "drained", progress[DELETED])
  end
  return Replies.pack("done", progress[DELETED])
end)
