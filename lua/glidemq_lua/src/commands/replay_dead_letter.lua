-- replay_dead_letter: a dead letter becomes a job of the queue that it came from, once however often it is asked for.
-- Moves:  (new) -> waiting, delayed, prioritized
-- Keys:   those of enqueue, x-py:replay, x-py:replayed, x-py:replays
-- Args:   letter (a name of the letter that no other will have), read_at (when it was read), jobs (one row as enqueue
--         takes it, without deduplication)
-- Reply:  ["ok", id] | ["too_late"]: nothing was changed, since others may have replayed it meanwhile | ["skipped"]: its
--         custom id exists
-- Errors: bad_argument, bad_id_counter, cost_exceeds_capacity
-- Events: added
--
-- `P:x-py:replay:<letter>` holds the job's id, so that a replay that was interrupted before the letter was removed can be
-- repeated. Once it is removed, settle_replay shortens its life.
local SPEC = { letter = "string", read_at = "number", jobs = "table" }
local ROW = {
  "string", "string", "string", "number", "number", "number", "number", "number", "?string", "?string", "?string",
  "?table",
}

local KEPT_MS = 30 * 86400000

local function fault_of(rows)
  if #rows ~= 1 then
    return "jobs must hold one row"
  end
  local row, fault = rows[1], Arguments.row_fault(rows, ROW)
  if fault or not row[12] then
    return fault
  elseif row[12].dedup then
    return "a replay takes no deduplication"
  elseif row[6] == 1 and row[12].ordering then
    return "lifo and ordering cannot be used together"
  end
  return Ordering.fault(row[12])
end

Library.command("replay_dead_letter", {}, SPEC, function(keys, args, now)
  local row, fault = args.jobs[1], fault_of(args.jobs)
  if fault then
    return Replies.bad_argument(fault)
  elseif row[12] and Ordering.is_too_dear(row[12]) then
    return Replies.pack("cost_exceeds_capacity", 1)
  elseif now - args.read_at > DeadLetters.PATIENCE_MS then
    return Replies.pack("too_late")
  end
  local mark = keys.replay .. args.letter
  local id = redis.call("GET", mark)
  if id then
    return Replies.pack("ok", id)
  end
  local next_id = Adding.id_source(keys, { row })
  if not next_id then
    return Replies.pack("bad_id_counter", redis.call("GET", keys.id))
  end
  local rings, _
  id, _, rings = Adding.add(keys, row, now, next_id, true, {})
  if not id then
    return Replies.pack("skipped")
  end
  redis.call("SET", mark, id, "PX", KEPT_MS)
  Replays.note(keys, id, now)
  if rings then
    Ready.ring(keys)
  end
  return Replies.pack("ok", id)
end)
