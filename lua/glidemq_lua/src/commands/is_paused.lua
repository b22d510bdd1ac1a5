-- is_paused: whether the queue's pause flag is set.
-- Moves:  nothing
-- Keys:   meta
-- Args:   none
-- Reply:  {"ok", 0 | 1}
-- Errors: bad_argument
-- Events: none
Library.command("is_paused", { "no-writes" }, {}, function(keys)
  return Replies.pack("ok", Limits.read(keys) and 1 or 0)
end)
