-- fire_schedulers: one tick - every scheduler whose slot is due adds its job, once, whoever ticks beside us.
-- Moves:  (new) -> waiting, prioritized
-- Keys:   schedulers, schedulers:lock:__tick__, x-py:schedulers, x-py:scheduler-runs, x-py:scheduler-scan, id, job,
--         stream, scheduled, lifo, ordering, group, ratelimited, events, bell
-- Args:   token (16 hex digits of the caller), lock_ms, limit, following [[name, next_run, pattern, tz or false,
--         following]]: for cron patterns, the slot after the due one; false: none ever; -1: cannot be told here
-- Reply:  ["ok", now_ms, [[name, job id]], [[name, next_run, pattern, tz or false]], [refused name], next_look_ms]
--         The third list wants its following slots: call again with them. next_look_ms: -1 without schedulers; not
--         after now: call again
-- Errors: bad_argument, busy (with now_ms and the ms until the holder's lock ends), bad_id_counter
-- Events: added
--
-- The lock tells Node to leave the schedulers alone between the two calls that a cron pattern takes; a Node worker
-- holds it while it reads, decides and writes. Slots fire once without it: the call is atomic and compares.

local SPEC = { token = "string", lock_ms = "number", limit = "number", following = "table" }
local ROW = { "string", "number", "string", "?string", "any" }
local CANNOT_TELL = -1
-- Another host may have the time zone that this one lacks: it gets the next turn, or the one after it.
local CANNOT_TELL_MS = 1000

local function by_name(rows)
  local told = {}
  for _, row in ipairs(rows) do
    told[row[1]] = row
  end
  return told
end

-- What the caller says about this very slot, or nil.
local function told_about(entry, row)
  if row and row[2] == entry.next_run and row[3] == entry.pattern and row[4] == (entry.tz or false) then
    return row[5]
  end
  return nil
end

local function look_later(keys, name, now)
  Schedulers.look_at(keys, name, now + Schedulers.UNUSABLE_MS)
end

local function decide(tick, entry, row)
  local keys, now = tick.keys, tick.now
  local told = told_about(entry, row)
  if told == CANNOT_TELL then
    Schedulers.look_at(keys, entry.name, now + CANNOT_TELL_MS)
    return
  end
  local verdict = tick.firing:decide(entry, told)
  if verdict == "want" then
    tick.wanted[#tick.wanted + 1] = { entry.name, entry.next_run, entry.pattern, entry.tz or false }
  elseif verdict == "refuse" then
    look_later(keys, entry.name, now)
    tick.refused[#tick.refused + 1] = entry.name
  end
end

-- Nobody can fire this entry as it stands. Only one that Node can read, too, is known to be of no use.
local function set_aside(keys, name, text, now)
  local ok, decoded = pcall(cjson.decode, text)
  if ok and type(decoded) == "table" then
    Schedulers.delete(keys, name)
  else
    look_later(keys, name, now)
  end
end

local function look(tick, name, row)
  local keys, now = tick.keys, tick.now
  local entry, unreadable = Schedulers.read(keys, name)
  if unreadable then
    look_later(keys, name, now)
  elseif not entry then
    Schedulers.delete(keys, name)
  elseif not Schedulers.has_mode(entry) then
    set_aside(keys, name, entry.text, now)
  elseif Schedulers.is_outstanding(entry) then
    tick.searched = SchedulerRuns.check(keys, entry, now, not tick.searched) or tick.searched
  elseif entry.next_run <= 0 then
    look_later(keys, name, now)
  elseif entry.next_run > now then
    Schedulers.look_at(keys, name, entry.next_run)
  elseif Schedulers.is_over(entry, entry.next_run) then
    Schedulers.delete(keys, name)
  else
    decide(tick, entry, row)
  end
end

local function hold_lock(keys, args, holder, wanted)
  if wanted then
    redis.call("SET", keys.scheduler_lock, args.token, "PX", args.lock_ms)
  elseif holder == args.token then
    redis.call("DEL", keys.scheduler_lock)
  end
end

Library.command("fire_schedulers", {}, SPEC, function(keys, args, now)
  local fault = Arguments.row_fault(args.following, ROW)
  if fault then
    return Replies.bad_argument(fault)
  end
  local size = redis.call("HLEN", keys.schedulers)
  if size == 0 then
    SchedulerIndex.clear(keys)
    return Replies.pack("ok", now, {}, {}, {}, -1)
  end
  SchedulerIndex.refresh(keys, size, now)
  local names = SchedulerIndex.due(keys, now, args.limit)
  if #names == 0 then
    return Replies.pack("ok", now, {}, {}, {}, SchedulerIndex.next_look(keys))
  end
  local holder = redis.call("GET", keys.scheduler_lock)
  if holder and holder ~= args.token then
    return Replies.pack("busy", now, math.max(redis.call("PTTL", keys.scheduler_lock), 0))
  end
  local tick = {
    keys = keys, now = now, firing = Firing.open(keys, now), wanted = {}, refused = {}, searched = false,
  }
  local told = by_name(args.following)
  for _, name in ipairs(names) do
    look(tick, name, told[name])
  end
  local fired = tick.firing:close()
  if not fired then
    return Replies.pack("bad_id_counter", redis.call("GET", keys.id))
  end
  hold_lock(keys, args, holder, #tick.wanted > 0)
  return Replies.pack("ok", now, fired, tick.wanted, tick.refused, SchedulerIndex.next_look(keys))
end)
