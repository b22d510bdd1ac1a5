-- SchedulerIndex: keeps `scheduler_looks` true although Node knows nothing of it. Entries are read a slice at a time,
-- so that a thousand schedulers cost no more per look than ten.
local SchedulerIndex = {}

local SLICE = 100
-- One slice in this time, for all hosts together; at once when there are entries that were never seen.
local EVERY_MS = 1000
local KEPT_MS = 60000

-- `known` is the time to look at the entry so far, as text, or false.
local function notice(keys, name, text, known, now)
  -- Nearly all are as they were, and reading an entry costs ten times as much as finding a number in it.
  if known and string.find(text, '"nextRun":' .. known, 1, true) then
    return
  end
  local entry = Schedulers.parse(name, text)
  if entry and entry.next_run > 0 then
    Schedulers.look_at(keys, name, entry.next_run)
  elseif not known then
    local outstanding = entry and Schedulers.is_outstanding(entry)
    Schedulers.look_at(keys, name, outstanding and now or now + Schedulers.UNUSABLE_MS)
  end
end

-- `flat` is {name, entry, ...}; a scan may return more than it was asked for.
local function notice_all(keys, flat, now)
  for first = 1, #flat, 2 * SLICE do
    local names = {}
    for index = first, math.min(first + 2 * SLICE, #flat) - 1, 2 do
      names[#names + 1] = flat[index]
    end
    local known = redis.call("ZMSCORE", keys.scheduler_looks, unpack(names))
    for number, name in ipairs(names) do
      notice(keys, name, flat[first + 2 * number - 1], known[number], now)
    end
  end
end

-- Members whose entry Node removed go when they are looked at, but that may be years away.
local function forget_removed(keys, size)
  if redis.call("ZCARD", keys.scheduler_looks) > size then
    for _, name in ipairs(redis.call("ZRANDMEMBER", keys.scheduler_looks, SLICE)) do
      if redis.call("HEXISTS", keys.schedulers, name) == 0 then
        Schedulers.delete(keys, name)
      end
    end
  end
  if redis.call("HLEN", keys.scheduler_runs) > size then
    for _, name in ipairs(redis.call("HRANDFIELD", keys.scheduler_runs, SLICE)) do
      if redis.call("HEXISTS", keys.schedulers, name) == 0 then
        redis.call("HDEL", keys.scheduler_runs, name)
      end
    end
  end
end

-- Brings the index up to date, a slice of it; `size` is the number of entries.
function SchedulerIndex.refresh(keys, size, now)
  local state = redis.call("GET", keys.scheduler_scan) or ""
  local due, cursor = string.match(state, "^(%d+):(%d+)$")
  if due and now < tonumber(due) and size <= redis.call("ZCARD", keys.scheduler_looks) then
    return
  end
  local reply = redis.call("HSCAN", keys.schedulers, cursor or "0", "COUNT", SLICE)
  notice_all(keys, reply[2], now)
  if reply[1] == "0" then
    forget_removed(keys, size)
  end
  redis.call("SET", keys.scheduler_scan, JsonText.whole(now + EVERY_MS) .. ":" .. reply[1], "PX", KEPT_MS)
end

-- The names to look at, earliest first.
function SchedulerIndex.due(keys, now, limit)
  return redis.call("ZRANGE", keys.scheduler_looks, "-inf", now, "BYSCORE", "LIMIT", 0, limit)
end

-- When to look next, or -1.
function SchedulerIndex.next_look(keys)
  local first = redis.call("ZRANGE", keys.scheduler_looks, 0, 0, "WITHSCORES")
  return first[2] and tonumber(first[2]) or -1
end

-- The last entry is gone.
function SchedulerIndex.clear(keys)
  redis.call("UNLINK", keys.scheduler_looks, keys.scheduler_runs, keys.scheduler_scan)
end
