-- clear_outbox: these entries of the outbox have been heard where they had to be.
-- Moves:  nothing
-- Keys:   x-py:outbox
-- Args:   entries [entry_id]
-- Reply:  ["ok", left]; how many entries the outbox holds now
-- Errors: bad_argument
-- Events: none
Library.command("clear_outbox", { "allow-oom" }, { entries = "table" }, function(keys, args)
  for number, entry_id in ipairs(args.entries) do
    if type(entry_id) ~= "string" or not string.find(entry_id, "^%d+%-%d+$") then
      return Replies.bad_argument("entry " .. number .. " must be the id of one")
    end
  end
  if #args.entries > 5000 then
    return Replies.bad_argument("5000 entries are the most")
  elseif #args.entries > 0 then
    redis.call("XDEL", keys.outbox, unpack(args.entries))
  end
  local left = redis.call("XLEN", keys.outbox)
  if left == 0 then
    redis.call("DEL", keys.outbox)
  end
  return Replies.pack("ok", left)
end)
