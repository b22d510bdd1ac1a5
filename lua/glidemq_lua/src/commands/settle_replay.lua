-- settle_replay: a replayed letter has been removed; what repeats of the replay need is kept for those under way alone.
-- Moves:  nothing
-- Keys:   x-py:replay
-- Args:   letter
-- Reply:  ["ok"]
-- Errors: bad_argument
-- Events: none
Library.command("settle_replay", { "allow-oom" }, { letter = "string" }, function(keys, args)
  redis.call("PEXPIRE", keys.replay .. args.letter, 5 * DeadLetters.PATIENCE_MS)
  return Replies.pack("ok")
end)
