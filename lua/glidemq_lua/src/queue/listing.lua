-- Listing: the ids of the jobs in a state by position, a bounded page at a time, in the order in which they would
-- start (waiting), become due (delayed, prioritized, suspended) or have ended (completed, failed); parents that wait
-- for their children come in no order.
-- Each state is a row of segments (see Walk).
local Listing = {}

-- Priority classes looked at, two commands each: for a count, and in one step of a listing.
local CLASSES_COUNTED = 300
local CLASSES_AT_ONCE = 50

local function indexed(size, range)
  return {
    indexed = true,
    size = size,
    page = function(at, count)
      local first = at or 0
      local ids = range(first, first + count - 1)
      local positions = {}
      for offset = 1, #ids do
        positions[offset] = first + offset
      end
      return ids, positions
    end,
  }
end

local function zset(key)
  return indexed(function()
    return redis.call("ZCARD", key)
  end, function(first, last)
    return redis.call("ZRANGE", key, first, last)
  end)
end

-- Both lists are popped from the right, so position 0 is the last element.
local function popped_list(key)
  return indexed(function()
    return redis.call("LLEN", key)
  end, function(first, last)
    local ids = redis.call("LRANGE", key, -last - 1, -first - 1)
    local reversed = {}
    for index = #ids, 1, -1 do
      reversed[#reversed + 1] = ids[index]
    end
    return reversed
  end)
end

-- Pending entries: those of `py-returned` alone, or all others.
local function pending_entries(keys, returned)
  return {
    size = function()
      local pending, given_back = Ready.pending(keys)
      return returned and given_back or pending - given_back
    end,
    job_at = function(entry_id)
      local entry = redis.call("XRANGE", keys.stream, entry_id, entry_id)[1]
      return entry and Ready.job_id(entry[2])
    end,
    page = function(at, count)
      local command = { "XPENDING", keys.stream, Ready.GROUP, at and "(" .. at or "-", "+", count }
      if returned then
        command[#command + 1] = Ready.RETURNED
      end
      local rows = redis.pcall(unpack(command))
      local ids, positions = {}, {}
      if rows.err then
        return ids, positions
      end
      for _, row in ipairs(rows) do
        if returned or row[2] ~= Ready.RETURNED then
          ids[#ids + 1] = row[1]
          positions[#positions + 1] = row[1]
        end
      end
      -- Entries of `py-returned` do not count, but reading goes on behind them.
      return ids, positions, #rows == count and rows[#rows][1] or nil
    end,
  }
end

local function undelivered_entries(keys)
  return {
    size = function()
      return redis.call("XLEN", keys.stream) - Ready.pending(keys)
    end,
    page = function(at, count)
      local after = at or Entries.last_delivered(keys)
      local entries = redis.call("XRANGE", keys.stream, after and "(" .. after or "-", "+", "COUNT", count)
      local ids, positions = {}, {}
      for index, entry in ipairs(entries) do
        ids[index] = Ready.job_id(entry[2]) or false
        positions[index] = entry[1]
      end
      return ids, positions
    end,
  }
end

-- How many jobs have a priority and no due time. Each class is counted alone, about 7 us; beyond CLASSES_COUNTED
-- different priorities the rest is counted in one go, dated jobs included.
function Listing.count_prioritized(keys)
  local total, class = 0, 1
  for _ = 1, CLASSES_COUNTED do
    local id, found, due = Delayed.head(keys, Delayed.score(class, 0))
    if not id then
      return total
    end
    if due == 0 then
      local score = Delayed.score(found, 0)
      total = total + redis.call("ZCOUNT", keys.scheduled, score, score)
    end
    class = found + 1
  end
  return total + redis.call("ZCOUNT", keys.scheduled, Delayed.score(class, 0), "+inf")
end

-- Undated jobs class by class; a position is `<class>:<index in it>`.
local function prioritized(keys)
  return {
    size = function()
      return Listing.count_prioritized(keys)
    end,
    page = function(at, count)
      local class, index = string.match(at or "1:0", "^(%d+):(%d+)$")
      class, index = tonumber(class) or 1, tonumber(index) or 0
      local ids, positions = {}, {}
      for _ = 1, CLASSES_AT_ONCE do
        local score = Delayed.score(class, 0)
        local found =
          redis.call("ZRANGE", keys.scheduled, score, score, "BYSCORE", "LIMIT", index, count - #ids)
        for _, id in ipairs(found) do
          index = index + 1
          ids[#ids + 1] = id
          positions[#positions + 1] = class .. ":" .. index
        end
        local following, next_class = Delayed.head(keys, Delayed.score(class + 1, 0))
        if #ids == count or not following then
          return ids, positions
        end
        class, index = next_class, 0
      end
      return ids, positions, class .. ":0"
    end,
  }
end

-- The parents that somebody looks after: one of another library is among them once it has heard of a child.
local function waiting_parents(keys)
  local segment = zset(keys.parent_looks)
  -- What does not wait any more stands there until it is looked at.
  segment.job_at = function(id)
    return redis.pcall("HGET", keys.job .. id, "state") == "waiting-children" and id
  end
  return segment
end

local STATES = {
  waiting = function(keys)
    return {
      pending_entries(keys, true),
      popped_list(keys.priority),
      popped_list(keys.lifo),
      undelivered_entries(keys),
    }
  end,
  -- List jobs that a Node worker runs stand in no structure, so they are counted but cannot be listed.
  active = function(keys)
    local segments = { pending_entries(keys, false) }
    for _, cell in ipairs(redis.call("ZRANGE", keys.cells, 0, -1)) do
      segments[#segments + 1] = zset(keys.active_of .. cell)
    end
    return segments
  end,
  -- As in glide-mq for Node, "delayed" is the whole scheduled set, prioritized jobs included.
  delayed = function(keys)
    return { zset(keys.scheduled) }
  end,
  prioritized = function(keys)
    return { prioritized(keys) }
  end,
  completed = function(keys)
    return { zset(keys.completed) }
  end,
  failed = function(keys)
    return { zset(keys.failed) }
  end,
  suspended = function(keys)
    return { zset(keys.suspended) }
  end,
  ["waiting-children"] = function(keys)
    return { waiting_parents(keys) }
  end,
}

function Listing.segments(keys, state)
  local build = STATES[state]
  return build and build(keys)
end
