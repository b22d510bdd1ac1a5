-- update_data: replace a job's payload; a later run sees the new one, a run in progress keeps what it was given.
-- Moves:  nothing
-- Keys:   job
-- Args:   id, data (serialized)
-- Reply:  {"ok"} | {"missing"}
-- Errors: bad_argument
-- Events: none
local SPEC = { id = "string", data = "string" }

Library.command("update_data", {}, SPEC, function(keys, args)
  if not View.exists(keys, args.id) then
    return Replies.pack("missing")
  end
  redis.call("HSET", keys.job .. args.id, "data", args.data)
  return Replies.pack("ok")
end)
