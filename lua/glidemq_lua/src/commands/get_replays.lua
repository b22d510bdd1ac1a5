-- get_replays: how the replays of dead letters of this queue ended, and what its outbox holds.
-- Moves:  nothing
-- Keys:   meta, x-py:replays, x-py:replayed, x-py:dead-letters
-- Args:   none
-- Reply:  ["ok", now_ms, [made, completed, failed, unended], letters in the outbox, letters lost]
-- Errors: bad_argument
-- Events: none
Library.command("get_replays", { "no-writes" }, {}, function(keys, _, now)
  local lost = tonumber(redis.call("HGET", keys.meta, DeadLetters.LOST)) or 0
  return Replies.pack("ok", now, Replays.counts(keys), redis.call("XLEN", keys.dead_letters), lost)
end)
