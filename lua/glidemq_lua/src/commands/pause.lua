-- pause: stop starting jobs of the queue; running ones go on. `step` honours the flag, Node workers do not.
-- Moves:  nothing
-- Keys:   meta, events
-- Args:   none
-- Reply:  {"ok"}
-- Errors: bad_argument
-- Events: paused (job id 0)
Library.command("pause", { "allow-oom" }, {}, function(keys)
  redis.call("HSET", keys.meta, "paused", "1")
  Events.emit(keys, "paused", "0")
  return Replies.pack("ok")
end)
