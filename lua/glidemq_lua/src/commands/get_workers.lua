-- get_workers: the workers that are alive, of this library and of Node.
-- Moves:  nothing
-- Keys:   x-py:workers, stream (its consumers), w:<consumer>
-- Args:   none
-- Reply:  ["ok", now_ms, [[consumer, info_json]]]
-- Errors: bad_argument
-- Events: none
Library.command("get_workers", { "no-writes" }, {}, function(keys, _, now)
  return Replies.pack("ok", now, Membership.alive(keys, now))
end)
