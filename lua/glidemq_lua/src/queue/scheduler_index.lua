-- SchedulerIndex: keeps `scheduler_looks` true although Node knows nothing of it. Entries are read a slice at a time,
-- so that a thousand schedulers cost no more per look than ten.
local SchedulerIndex = {}

local SLICE = 100
-- One slice in this time, for all hosts together; at once when there are entries that were never seen.
local EVERY_MS = 1000
local KEPT_MS = 60000

local function notice(keys, name, text, now)
  local known = tonumber(redis.call("ZSCORE", keys.scheduler_looks, name) or nil)
  local entry = Schedulers.parse(name, text)
  if entry and entry.next_run > 0 then
    if known ~= entry.next_run then
      Schedulers.look_at(keys, name, entry.next_run)
    end
  elseif not known then
    local outstanding = entry and Schedulers.is_outstanding(entry)
    Schedulers.look_at(keys, name, outstanding and now or now + Schedulers.UNUSABLE_MS)
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
  for index = 1, #reply[2], 2 do
    notice(keys, reply[2][index], reply[2][index + 1], now)
  end
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
