-- remove_scheduler: delete a scheduler. Jobs that it has added run as they would.
-- Moves:  nothing
-- Keys:   schedulers, schedulers:lock:__tick__, x-py:schedulers, x-py:scheduler-runs
-- Args:   name
-- Reply:  ["ok"] | ["missing"]
-- Errors: bad_argument, busy (somebody holds the lock: again in a moment)
-- Events: none
Library.command("remove_scheduler", { "allow-oom" }, { name = "string" }, function(keys, args)
  if redis.call("EXISTS", keys.scheduler_lock) == 1 then
    return Replies.pack("busy")
  end
  return Replies.pack(Schedulers.delete(keys, args.name) and "ok" or "missing")
end)
