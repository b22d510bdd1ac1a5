-- leave: a worker goes away for good and leaves nothing behind that others would trip over.
-- Moves:  nothing (waiting entries may move to the tail of the stream)
-- Keys:   w:<consumer>, x-py:workers, x-py:cells, x-py:active:<cell>, x-py:bell, stream, jobs
-- Args:   consumer, cell
-- Reply:  {"ok", entries moved to the tail, 1 if some are left for another call else 0}
-- Errors: bad_argument
-- Events: none
--
-- Entries given back stay with `py-returned`, at the head of the queue, where the next worker of this library
-- finds them. A Node worker never looks there: when the last worker of ours leaves while one is alive, they move to
-- the tail.
local SPEC = { consumer = "string", cell = "string" }

local MOVED_AT_ONCE = 500

local function move_to_tail(keys)
  local entries = Ready.read_pending(keys, Ready.RETURNED, MOVED_AT_ONCE, "0")
  local entry_ids, moved = {}, 0
  for index, entry in ipairs(entries) do
    entry_ids[index] = entry[1]
    local id = Ready.job_id(entry[2])
    if id and View.exists(keys, id) then
      redis.call("XADD", keys.stream, "*", unpack(entry[2]))
      moved = moved + 1
    end
  end
  Ready.drop(keys, entry_ids)
  return moved, #entries == MOVED_AT_ONCE
end

-- A ring that this worker took but did not answer is rung again for the others.
local function hand_over_rings(keys, consumer)
  local unanswered = redis.pcall("XPENDING", keys.bell, Ready.GROUP, "-", "+", 1, consumer)
  Ready.silence(keys, consumer)
  if not unanswered.err and #unanswered > 0 then
    Ready.ring(keys)
  end
end

Library.command("leave", { "allow-oom" }, SPEC, function(keys, args, now)
  Membership.withdraw(keys, args.consumer, now)
  Membership.forget_consumer(keys, args.consumer)
  if redis.call("EXISTS", keys.active_of .. args.cell) == 0 then
    redis.call("ZREM", keys.cells, args.cell)
  end
  if Membership.count(keys, now) > 0 then
    hand_over_rings(keys, args.consumer)
    return Replies.pack("ok", 0, 0)
  end
  Ready.silence(keys, args.consumer)
  if not Membership.has_foreign(keys) then
    return Replies.pack("ok", 0, 0)
  end
  local moved, more = move_to_tail(keys)
  return Replies.pack("ok", moved, more and 1 or 0)
end)
