-- Dependencies: parents learn that a child has completed, and wake when the last one has.
-- Only parents in the child's own queue: those of another queue live in another slot and need a call of their own.
local Dependencies = {}

-- Marks the child once; wakes the parent straight into the stream, as its event `active` announces.
local function notify(settlement, parent_id, member)
  local keys = settlement.keys
  local parent = keys.job .. parent_id
  local fields = redis.call("HMGET", parent, "state", "name")
  -- A removed parent must not come back as a stub.
  if not fields[1] or redis.call("HSETNX", parent, "depdone:" .. member, "1") == 0 then
    return
  end
  local done = redis.call("HINCRBY", parent, "depsCompleted", 1)
  if done < redis.call("SCARD", keys.deps .. parent_id) or not States.allows("wake", fields[1]) then
    return
  end
  States.enter(keys, parent_id, "waiting")
  Ready.append(keys, parent_id, fields[2])
  settlement:event("active", parent_id)
end

-- `parent_ids` is present only when the job has several dependents, which then stand in its parents set.
function Dependencies.completed(settlement, id, parent_id, parent_queue, parent_ids)
  local keys = settlement.keys
  local member = keys.prefix .. ":" .. id
  if parent_id and parent_queue == Keys.queue_name(keys) then
    notify(settlement, parent_id, member)
  end
  if parent_ids then
    for _, parent in ipairs(redis.call("SMEMBERS", keys.parents .. id)) do
      local prefix, other_id = string.match(parent, "^(.*):([^:]*)$")
      if prefix == keys.prefix then
        notify(settlement, other_id, member)
      end
    end
  end
end
