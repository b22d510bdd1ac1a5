-- resume: end a pause, and wake a reader that finds the queue drained.
-- Moves:  nothing
-- Keys:   meta, events, x-py:bell
-- Args:   none
-- Reply:  {"ok"}
-- Errors: bad_argument
-- Events: resumed (job id 0)
Library.command("resume", { "allow-oom" }, {}, function(keys)
  redis.call("HSET", keys.meta, "paused", "0")
  Ready.ring(keys)
  Events.emit(keys, "resumed", "0")
  return Replies.pack("ok")
end)
