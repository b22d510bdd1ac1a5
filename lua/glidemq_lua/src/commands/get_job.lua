-- get_job: one job as it stands, without changing anything.
-- Moves:  nothing
-- Keys:   job
-- Args:   id, exclude_data (boolean: leave out data, return value and other payload)
-- Reply:  {"ok", {field, value, ...}} | {"missing"}
-- Errors: bad_argument
-- Events: none
local SPEC = { id = "string", exclude_data = "?boolean" }

Library.command("get_job", { "no-writes" }, SPEC, function(keys, args)
  local flat = View.read(keys, args.id, args.exclude_data)
  if not flat then
    return Replies.pack("missing")
  end
  return Replies.pack("ok", flat)
end)
