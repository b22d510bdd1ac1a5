-- Turns: what the end of a run, or the end of a job, means for its group. Every way out of `active`, and every way in
-- which a job disappears that never started, leads through here: else its group would wait for it for ever.
local Turns = {}

local FIELDS = { "groupKey", "orderingSeq", Group.SLOT }
local KEY, SEQ, SLOT = 1, 2, 3

local function is_in_group(values)
  return not values.err and values[KEY] and values[KEY] ~= ""
end

-- A running job has completed; running, it held its slot.
function Turns.completed(settlement, group_key)
  Group.of(settlement, group_key):free_slot()
end

-- Jobs that ended otherwise, or are about to be deleted, are noted in `settlement.lost`, from wherever: their hashes
-- tell what they held. Queues without groups pay for one EXISTS.
function Turns.bury(settlement)
  local lost, keys = settlement.lost, settlement.keys
  if #lost == 0 then
    return
  end
  settlement.lost = {}
  if settlement.has_groups == nil then
    settlement.has_groups = redis.call("EXISTS", keys.ordering) == 1
  end
  for number = 1, settlement.has_groups and #lost or 0 do
    local id = lost[number]
    local values = redis.pcall("HMGET", keys.job .. id, unpack(FIELDS))
    if is_in_group(values) then
      local group, seq = Group.of(settlement, values[KEY]), Group.sequence(values[SEQ])
      if group:holds(seq, values[SLOT]) then
        group:free_slot()
      elseif seq and not group:has_started(seq) then
        group:skip(seq)
      end
      if values[SLOT] ~= Group.GIVEN_UP then
        -- Tried again by hand, it has to take a slot like any other.
        redis.call("HSET", keys.job .. id, Group.SLOT, Group.GIVEN_UP)
      end
    end
  end
end

-- A run has ended and the job will run again later. With a concurrency of 1 it keeps its turn meanwhile; above 1 the
-- others may have its slot, unless Node workers share the queue, which would not take it again.
function Turns.step_back(settlement, id)
  local keys = settlement.keys
  local values = redis.call("HMGET", keys.job .. id, unpack(FIELDS))
  if not is_in_group(values) then
    return
  end
  local group = Group.of(settlement, values[KEY])
  if group.max ~= 1 and not settlement.holds_slots and group:holds(Group.sequence(values[SEQ]), values[SLOT]) then
    group:free_slot()
    redis.call("HSET", keys.job .. id, Group.SLOT, Group.GIVEN_UP)
  end
end

-- A job that was activated at this time goes back unstarted, to the front of the queue: it keeps its turn and its slot,
-- and its group gets back what the start has used up.
function Turns.take_back_start(settlement, group_key, cost, activated_on)
  if group_key and group_key ~= "" then
    local group = Group.of(settlement, group_key)
    group:take_back_start(tonumber(cost) or TokenBucket.DEFAULT_COST, activated_on)
  end
end
