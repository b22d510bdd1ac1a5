-- update_progress: store how far a job has come, as the text of a number or of a JSON value.
-- Moves:  nothing
-- Keys:   job, events
-- Args:   id, progress (text), events (boolean: tell the listeners)
-- Reply:  {"ok"} | {"missing"}
-- Errors: bad_argument
-- Events: progress {data}
local SPEC = { id = "string", progress = "string", events = "boolean" }

Library.command("update_progress", { "allow-oom" }, SPEC, function(keys, args)
  if not View.exists(keys, args.id) then
    return Replies.pack("missing")
  end
  redis.call("HSET", keys.job .. args.id, "progress", args.progress)
  if args.events then
    Events.emit(keys, "progress", args.id, "data", args.progress)
  end
  return Replies.pack("ok")
end)
