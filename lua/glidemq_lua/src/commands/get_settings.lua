-- get_settings: what is set for the queue as a whole.
-- Moves:  nothing
-- Keys:   meta
-- Args:   none
-- Reply:  ["ok", paused 0 | 1, global concurrency or false, [max, duration_ms] of the global rate limit or false,
--         name of the dead letter queue or false]
-- Errors: bad_argument
-- Events: none
Library.command("get_settings", { "no-writes" }, {}, function(keys)
  local paused, concurrency, rate = Limits.read(keys)
  local dead_letters = redis.call("HGET", keys.meta, "deadLetterQueueName")
  return Replies.pack(
    "ok",
    paused and 1 or 0,
    concurrency or false,
    rate and { rate.max, rate.duration_ms } or false,
    dead_letters ~= "" and dead_letters
  )
end)
