-- Withdrawal: a job in state `waiting` leaves the place where it waits, to go elsewhere.
-- A list gives it up at once. A stream entry has to be found first (see Entries), which may take several calls; until
-- then nothing has changed, and the job may start.
local Withdrawal = {}

-- Entries searched per call, about 2 us each.
Withdrawal.BUDGET = 2000

-- Whether the job stood in a list.
function Withdrawal.from_lists(keys, id)
  return redis.call("LREM", keys.lifo, 0, id) + redis.call("LREM", keys.priority, 0, id) > 0
end

-- Where the entry may stand: behind the time of the add, or that of the promotion.
function Withdrawal.ranges(timestamp, delay)
  return Entries.ranges_of_waiting((tonumber(timestamp) or 0) + (tonumber(delay) or 0))
end

-- Goes on with a search. Returns "ok"; or "more" and the ranges that are left, "not_in_stream", or "invalid_state" for
-- an entry that a host has in hand and is about to start.
function Withdrawal.from_stream(keys, id, ranges)
  local entry_id, unsearched = Entries.search(keys, id, ranges, Withdrawal.BUDGET)
  if not entry_id then
    if #unsearched > 0 then
      return "more", unsearched
    end
    return "not_in_stream"
  end
  local holder = Ready.holder(keys, entry_id)
  if holder and holder ~= Ready.RETURNED then
    return "invalid_state"
  end
  Ready.drop(keys, { entry_id })
  return "ok"
end

-- The fault of a caller's `resume`, or nil: what is left of a search, from an earlier reply.
function Withdrawal.fault(resume)
  if resume and Arguments.row_fault(resume, { "string", "string" }) then
    return "resume must come from an earlier reply"
  end
  return nil
end
