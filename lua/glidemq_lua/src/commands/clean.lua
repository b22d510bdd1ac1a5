-- clean: delete finished jobs, oldest first, with everything that belongs to them, in bounded rounds.
-- Moves:  completed, failed -> (gone)
-- Keys:   completed or failed; jobs and their satellites, events
-- Args:   state (completed or failed), grace_ms (younger ones stay), limit; before (ms) and cleaned from the last
--         reply, absent at first
-- Reply:  ["more" or "done", [id], before, cleaned so far]
-- Errors: bad_argument
-- Events: cleaned (the job id is the number of jobs), once
local SPEC = {
  state = "string", grace_ms = "number", limit = "number", before = "?number", cleaned = "?number",
}

local PER_ROUND = 500

-- Those of the ids whose job is in this state; others are traces of a job that lives elsewhere.
local function finished(keys, ids, state)
  local found = {}
  for _, id in ipairs(ids) do
    local actual = redis.pcall("HGET", keys.job .. id, "state")
    if not actual or actual == state then
      found[#found + 1] = id
    end
  end
  return found
end

Library.command("clean", { "allow-oom" }, SPEC, function(keys, args, now)
  if args.state ~= "completed" and args.state ~= "failed" then
    return Replies.bad_argument("state must be completed or failed")
  end
  local set = keys[args.state]
  local before, cleaned = args.before or now - args.grace_ms, args.cleaned or 0
  local wanted = math.min(args.limit - cleaned, PER_ROUND)
  local ids = wanted > 0 and redis.call("ZRANGE", set, "-inf", before, "BYSCORE", "LIMIT", 0, wanted) or {}
  local doomed = finished(keys, ids, args.state)
  if #ids > 0 then
    Retention.unlink(keys, doomed)
    redis.call("ZREM", set, unpack(ids))
  end
  cleaned = cleaned + #doomed
  if #ids > 0 and cleaned < args.limit then
    return Replies.pack("more", doomed, before, cleaned)
  end
  if cleaned > 0 then
    Events.emit(keys, "cleaned", cleaned)
  end
  return Replies.pack("done", doomed, before, cleaned)
end)
