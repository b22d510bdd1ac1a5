-- enqueue: add jobs, all of them or none.
-- Moves:  (new) -> waiting, delayed, prioritized; delayed, prioritized, waiting, group-waiting -> (gone), for a newer
--         job with the same deduplication id; what the group of that one lets go instead may end as expired or failed
-- Keys:   id, job, stream, scheduled, lifo, deps, events, bell, ordering, group, ratelimited, x-py:add; dedup,
--         x-py:dedup, groupq and the satellites of a replaced job; priority (also when max_waiting is given)
-- Args:   jobs [[name, data, opts, delay_ms, priority, lifo, ttl_ms, attempts, custom_id, parent_id, parent_queue,
--         extra]], events, max_waiting, idem, given
--         extra: false, or {ordering, cost} as Ordering describes them, and dedup as Deduplication does
-- Reply:  ["ok", [id or false], due_ms]; false: an earlier job with this deduplication id counts, or one with this
--         custom id exists, in this order; due_ms: when the first scheduled job of this call becomes due, or -1
-- Errors: bad_argument, queue_full (with the number waiting and the maximum), bad_id_counter,
--         cost_exceeds_capacity (with the number of the first row whose job could never start)
-- Events: added, removed (the replaced job)

local REPLY_KEPT_MS = 60000

-- As Adding lists them.
local ROW = {
  "string", "string", "string", "number", "number", "number", "number", "number", "?string", "?string", "?string",
  "?table",
}
local EXTRA = { ordering = true, cost = true, dedup = true }

local function fault_of_extra(row)
  for name in pairs(row[12]) do
    if not EXTRA[name] then
      return "unknown member " .. tostring(name) .. " of extra"
    end
  end
  if row[6] == 1 and row[12].ordering then
    return "lifo and ordering cannot be used together"
  end
  return Ordering.fault(row[12]) or row[12].dedup and Deduplication.fault(row[12].dedup) or nil
end

-- Returns the fault, and the number of the first row that costs too much; either may be nil.
local function fault_of(jobs)
  local fault = Arguments.row_fault(jobs, ROW)
  if fault then
    return fault
  end
  local too_dear
  for number, row in ipairs(jobs) do
    fault = row[12] and fault_of_extra(row)
    if fault then
      return "row " .. number .. ": " .. fault
    end
    too_dear = too_dear or row[12] and Ordering.is_too_dear(row[12]) and number
  end
  return nil, too_dear
end

local function add_all(keys, args, now)
  local next_id = Adding.id_source(keys, args.jobs, args.given)
  if not next_id then
    return Replies.pack("bad_id_counter", redis.call("GET", keys.id))
  end
  local ids, first_due, ring = {}, -1, false
  local events, call = args.events ~= false, {}
  for number, row in ipairs(args.jobs) do
    local id, due, rings = Adding.add(keys, row, now, next_id, events, call)
    ids[number] = id
    ring = ring or rings
    if due and (first_due < 0 or due < first_due) then
      first_due = due
    end
  end
  Deduplication.finish(keys, now, call)
  if ring then
    Ready.ring(keys)
  end
  return Replies.pack("ok", ids, first_due)
end

Library.command("enqueue", {}, {
  jobs = "table", max_waiting = "?number", idem = "?string", given = "?number",
}, function(keys, args, now)
  local fault, too_dear = fault_of(args.jobs)
  if fault then
    return Replies.bad_argument(fault)
  elseif too_dear then
    return Replies.pack("cost_exceeds_capacity", too_dear)
  end
  -- A repeated call whose first reply was lost gets that reply again.
  local remembered = args.idem and redis.call("GET", keys.add_reply .. args.idem)
  if remembered then
    return remembered
  end
  if args.max_waiting then
    local waiting = Ready.waiting(keys) + Delayed.prioritized(keys)
    if waiting + #args.jobs > args.max_waiting then
      return Replies.pack("queue_full", waiting, args.max_waiting)
    end
  end
  local reply = add_all(keys, args, now)
  if args.idem then
    redis.call("SET", keys.add_reply .. args.idem, reply, "PX", REPLY_KEPT_MS)
  end
  return reply
end)
