-- set_global_concurrency: let at most so many jobs of the queue run at once, on all workers together.
-- Moves:  nothing
-- Keys:   meta, bell
-- Args:   concurrency (0: no limit)
-- Reply:  ["ok"]
-- Errors: bad_argument
-- Events: none
Library.command("set_global_concurrency", { "allow-oom" }, { concurrency = "number" }, function(keys, args)
  if args.concurrency < 0 or args.concurrency % 1 ~= 0 then
    return Replies.bad_argument("concurrency must be a whole number, at least 0")
  elseif args.concurrency > 0 then
    redis.call("HSET", keys.meta, "globalConcurrency", args.concurrency)
  else
    redis.call("HDEL", keys.meta, "globalConcurrency")
  end
  Ready.ring(keys)
  return Replies.pack("ok")
end)
