-- Active: list-sourced jobs in hand. A stream job in hand is a pending entry; a list job would be nowhere, so its id
-- stands in a sorted set of its cell, scored by lastActive. `P:list-active` is the number that Node counts by.
local Active = {}

function Active.enter(keys, cell, ids, now)
  if #ids == 0 then
    return
  end
  redis.call("INCRBY", keys.list_active, #ids)
  local scored = {}
  for _, id in ipairs(ids) do
    scored[#scored + 1] = now
    scored[#scored + 1] = id
  end
  redis.call("ZADD", keys.active_of .. cell, unpack(scored))
  redis.call("ZADD", keys.cells, 0, cell)
end

-- `ids` leave a cell's set. The counter never goes below zero.
function Active.leave(keys, cell, ids)
  local left = redis.call("ZREM", keys.active_of .. cell, unpack(ids))
  local counted = tonumber(redis.call("GET", keys.list_active)) or 0
  local fewer = math.min(left, counted)
  if fewer > 0 then
    redis.call("DECRBY", keys.list_active, fewer)
  end
end

-- Somebody else has taken the job out of hand, and the counter with it: only the trace is removed.
function Active.forget(keys, cell, id)
  redis.call("ZREM", keys.active_of .. cell, id)
end

-- A cell without list jobs need not be looked at; its next one registers it again.
function Active.forget_cell(keys, cell)
  if redis.call("EXISTS", keys.active_of .. cell) == 0 then
    redis.call("ZREM", keys.cells, cell)
  end
end

-- The lease of a list job was extended. XX: one that has left stays away.
function Active.touch(keys, cell, id, now)
  redis.call("ZADD", keys.active_of .. cell, "XX", now, id)
end
