-- note_usage_queue: remember a queue in which usage was reported. The set is shared by all queues of a prefix, so it
-- lives in a slot of its own and cannot be written by report_usage.
-- Moves:  nothing
-- Keys:   <prefix>:usage:queues, the only key here that is declared as it is
-- Args:   queue (the bare name)
-- Reply:  {"ok"}
-- Errors: bad_argument
-- Events: none
Library.command("note_usage_queue", { "allow-oom" }, { queue = "string" }, function(keys, args)
  redis.call("SADD", keys.declared, args.queue)
  return Replies.pack("ok")
end)
