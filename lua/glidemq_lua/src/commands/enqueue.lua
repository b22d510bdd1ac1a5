-- enqueue: add jobs, all of them or none.
-- Moves:  (new) -> waiting, delayed, prioritized
-- Keys:   id, job, stream, scheduled, lifo, deps, events, bell, x-py:add; priority (when max_waiting is given)
-- Args:   jobs [[name, data, opts, delay_ms, priority, lifo, ttl_ms, attempts, custom_id, parent_id, parent_queue,
--         extra]], events, max_waiting, idem
-- Reply:  ["ok", [id or false], due_ms]; false: a job with this custom id exists; due_ms: when the first scheduled
--         job of this call becomes due, or -1
-- Errors: bad_argument, queue_full (with the number waiting and the maximum), bad_id_counter
-- Events: added

local REPLY_KEPT_MS = 60000

-- As Adding lists them.
local ROW = {
  "string", "string", "string", "number", "number", "number", "number", "number", "?string", "?string", "?string",
}

local function fault_of(jobs)
  local fault = Arguments.row_fault(jobs, ROW)
  if fault then
    return fault
  end
  for number, row in ipairs(jobs) do
    if type(row[12]) == "table" and next(row[12]) ~= nil then
      return "row " .. number .. ": unknown member " .. tostring(next(row[12])) .. " of extra"
    end
  end
  return nil
end

local function add_all(keys, args, now)
  local next_id = Adding.id_source(keys, args.jobs)
  if not next_id then
    return Replies.pack("bad_id_counter", redis.call("GET", keys.id))
  end
  local ids, first_due, ring = {}, -1, false
  local events = args.events ~= false
  for number, row in ipairs(args.jobs) do
    local id, due, rings = Adding.add(keys, row, now, next_id, events)
    ids[number] = id
    ring = ring or rings
    if due and (first_due < 0 or due < first_due) then
      first_due = due
    end
  end
  if ring then
    Ready.ring(keys)
  end
  return Replies.pack("ok", ids, first_due)
end

Library.command("enqueue", {}, { jobs = "table", max_waiting = "?number", idem = "?string" }, function(keys, args, now)
  local fault = fault_of(args.jobs)
  if fault then
    return Replies.bad_argument(fault)
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
