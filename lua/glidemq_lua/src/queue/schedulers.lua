-- Schedulers: entries of `P:schedulers`, one JSON text each, which Node reads and writes too.
--
-- An entry has one mode: `pattern` (cron), `every` (ms) or `repeatAfterComplete` (ms after the end of a run), and a
-- `nextRun` (ms); 0 means that the run of a repeatAfterComplete entry has not ended yet. Entries are cut and pasted
-- as text, so that a template stays what its author wrote.
--
-- Beside them stand two keys of this library, derived from the entries and rebuilt from them when they are lost:
-- `scheduler_looks` tells when to look at which entry without reading them all, `scheduler_runs` holds
-- "<lastRun>:<job id>" of unfinished runs. A lastRun other than the entry's means that Node started a later run.
local Schedulers = {}

-- Entries that nobody can fire are looked at this often, in case somebody repairs them unseen.
Schedulers.UNUSABLE_MS = 60000

local MAX_SAFE = 2 ^ 53

-- The entry as a table, or nil when the text cannot be read: {name, text, places, pattern, tz, every, after, start_date,
-- end_date, limit, count, last_run, next_run, template (text)}. `after` is repeatAfterComplete.
function Schedulers.parse(name, text)
  local members, places = JsonText.members(text)
  if not members then
    return nil
  end
  -- What is no positive safe integer was not written by anybody's upsert, and some of it would never come to an end.
  local function positive(member)
    local value = JsonText.number(members[member])
    return value and value >= 1 and value <= MAX_SAFE and value or nil
  end
  return {
    name = name,
    text = text,
    places = places,
    pattern = members.pattern ~= '""' and JsonText.string(members.pattern) or nil,
    tz = JsonText.string(members.tz),
    every = positive("every"),
    after = positive("repeatAfterComplete"),
    start_date = JsonText.number(members.startDate),
    end_date = JsonText.number(members.endDate),
    limit = positive("limit"),
    count = JsonText.number(members.iterationCount) or 0,
    last_run = JsonText.number(members.lastRun),
    next_run = JsonText.number(members.nextRun) or 0,
    template = members.template,
  }
end

-- The entry; nil and its text when it cannot be read; nil alone when there is none.
function Schedulers.read(keys, name)
  local text = redis.pcall("HGET", keys.schedulers, name)
  if type(text) ~= "string" then
    return nil
  end
  local entry = Schedulers.parse(name, text)
  return entry, not entry and text or nil
end

function Schedulers.has_mode(entry)
  return (entry.pattern or entry.every or entry.after) ~= nil
end

-- Waits for the end of a run.
function Schedulers.is_outstanding(entry)
  return entry.after ~= nil and entry.next_run == 0
end

-- Whether no run may follow at this time any more.
function Schedulers.is_over(entry, next_run)
  return entry.limit ~= nil and entry.count >= entry.limit or entry.end_date ~= nil and next_run > entry.end_date
end

-- A run in this state (false: its hash is gone) will not end any more.
function Schedulers.has_ended(state)
  return not state or state == "completed" or state == "failed"
end

function Schedulers.look_at(keys, name, at)
  redis.call("ZADD", keys.scheduler_looks, at, name)
end

-- Stores an entry with `changes` (see JsonText.with) and its next run. `look_at` tells when to look at one whose next
-- run is 0. Returns its text.
function Schedulers.store(keys, entry, changes, next_run, look_at)
  changes[#changes + 1] = { "nextRun", JsonText.whole(next_run) }
  local text = JsonText.with(entry.text, entry.places, changes)
  redis.call("HSET", keys.schedulers, entry.name, text)
  Schedulers.look_at(keys, entry.name, look_at or next_run)
  return text
end

function Schedulers.delete(keys, name)
  redis.call("ZREM", keys.scheduler_looks, name)
  redis.call("HDEL", keys.scheduler_runs, name)
  return redis.call("HDEL", keys.schedulers, name) == 1
end

-- The id of the run that the entry waits for, or nil when it is not known, and what was noted about it instead.
function Schedulers.run_of(keys, entry)
  local noted = redis.call("HGET", keys.scheduler_runs, entry.name)
  local last_run, kind, rest = string.match(noted or "", "^(%d+)([:?])(.*)$")
  if not last_run or tonumber(last_run) ~= (entry.last_run or 0) then
    return nil, nil
  elseif kind == ":" then
    return rest, nil
  end
  return nil, rest
end

-- Notes the job of the run that began at `last_run`: kind ":" and its id, or "?" and how far a search for it has come.
function Schedulers.note_run(keys, name, last_run, kind, rest)
  redis.call("HSET", keys.scheduler_runs, name, JsonText.whole(last_run or 0) .. kind .. rest)
end

-- The run that the entry waited for ended: the next one follows, unless it was the last.
function Schedulers.rearm(keys, entry, ended_at)
  local next_run = ended_at + entry.after
  if Schedulers.is_over(entry, next_run) then
    Schedulers.delete(keys, entry.name)
    return
  end
  redis.call("HDEL", keys.scheduler_runs, entry.name)
  Schedulers.store(keys, entry, {}, next_run)
end

-- The one hook of everything that ends jobs or removes unfinished ones: whoever waits for one of `ids` goes on. Hashes
-- must still be there. A queue without schedulers pays for one EXISTS.
function Schedulers.ended(keys, ids, ended_at)
  if #ids == 0 or redis.call("EXISTS", keys.schedulers) == 0 then
    return
  end
  for _, id in ipairs(ids) do
    local name = redis.pcall("HGET", keys.job .. id, "schedulerName")
    local entry = type(name) == "string" and Schedulers.read(keys, name)
    if entry and Schedulers.is_outstanding(entry) then
      local run = Schedulers.run_of(keys, entry)
      if not run or run == id then
        Schedulers.rearm(keys, entry, ended_at)
      end
    end
  end
end
