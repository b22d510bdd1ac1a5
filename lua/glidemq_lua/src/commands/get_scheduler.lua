-- get_scheduler: one scheduler as it is stored.
-- Moves:  nothing
-- Keys:   schedulers
-- Args:   name
-- Reply:  ["ok", entry (JSON text)] | ["missing"]
-- Errors: bad_argument
-- Events: none
Library.command("get_scheduler", { "no-writes" }, { name = "string" }, function(keys, args)
  local text = redis.call("HGET", keys.schedulers, args.name)
  if not text then
    return Replies.pack("missing")
  end
  return Replies.pack("ok", text)
end)
