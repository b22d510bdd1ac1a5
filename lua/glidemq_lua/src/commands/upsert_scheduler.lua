-- upsert_scheduler: create a scheduler or change it. An unchanged schedule keeps its next run and its count.
-- Moves:  nothing
-- Keys:   schedulers, schedulers:lock:__tick__, x-py:schedulers, x-py:scheduler-runs
-- Args:   name, entry (JSON text without lastRun and nextRun), first_run and asked_at (a cron pattern's first slot in
--         epoch ms, or false when it has none, and the time after which it is the first)
-- Reply:  ["ok", entry as stored]
-- Errors: bad_argument, busy (somebody holds the lock: again in a moment), no_occurrences (nothing lies within the
--         bounds), clock (with now_ms: the caller's clock differs, ask again with this time)
-- Events: none
local SPEC = { name = "string", entry = "string", first_run = "?number", asked_at = "?number" }

-- A first slot computed for a time this close is the right one but for bad luck, and then it is one slot off.
local CLOCK_SLACK_MS = 1000

local function first_of_every(entry, now)
  local start = entry.start_date
  if not start then
    return now + entry.every
  end
  return start + math.max(math.ceil((now - start) / entry.every), 0) * entry.every
end

-- When a new entry runs first; nil when the caller must compute it again, false when never.
local function first_run(entry, args, now)
  if entry.pattern then
    if not args.asked_at or math.abs(now - args.asked_at) > CLOCK_SLACK_MS then
      return nil
    end
    return args.first_run or false
  elseif entry.every then
    return first_of_every(entry, now)
  end
  return math.max(entry.start_date or 0, now)
end

local function is_same(old, new)
  return old.pattern == new.pattern and old.every == new.every and old.after == new.after and old.tz == new.tz
    and old.start_date == new.start_date and old.end_date == new.end_date
end

-- The state that the new entry takes over: its count, its last run (or nil) and its next run.
local function carried_over(old, new, first)
  if old and is_same(old, new) and (old.next_run > 0 or Schedulers.is_outstanding(old)) then
    return old.count, old.last_run, old.next_run
  elseif old and Schedulers.is_outstanding(old) and new.after then
    -- Its run goes on; a second one beside it would be an overlap. The new interval counts from its end.
    return 0, old.last_run, 0
  end
  return 0, nil, first
end

Library.command("upsert_scheduler", {}, SPEC, function(keys, args, now)
  local new = Schedulers.parse(args.name, args.entry)
  if not new or not Schedulers.has_mode(new) then
    return Replies.bad_argument("entry is not a scheduler's")
  end
  if redis.call("EXISTS", keys.scheduler_lock) == 1 then
    return Replies.pack("busy")
  end
  local first = first_run(new, args, now)
  if first == nil then
    return Replies.pack("clock", now)
  elseif not first or new.end_date and first > new.end_date then
    return Replies.pack("no_occurrences")
  end
  local old = Schedulers.read(keys, args.name)
  local count, last_run, next_run = carried_over(old, new, first)
  local changes = { { "iterationCount", JsonText.whole(count) } }
  if last_run then
    changes[2] = { "lastRun", JsonText.whole(last_run) }
  end
  if next_run > 0 then
    redis.call("HDEL", keys.scheduler_runs, args.name)
  end
  return Replies.pack("ok", Schedulers.store(keys, new, changes, next_run, next_run == 0 and now or next_run))
end)
