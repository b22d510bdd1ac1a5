-- add_log: append one line to a job's log. The caller keeps a line within 1 MiB.
-- Moves:  nothing
-- Keys:   job, log
-- Args:   id, line
-- Reply:  {"ok", number of lines} | {"missing"}
-- Errors: bad_argument
-- Events: none
local SPEC = { id = "string", line = "string" }

Library.command("add_log", {}, SPEC, function(keys, args)
  if not View.exists(keys, args.id) then
    return Replies.pack("missing")
  end
  return Replies.pack("ok", redis.call("RPUSH", keys.log .. args.id, args.line))
end)
