-- clear_dead_letters: these letters of the outbox have arrived.
-- Moves:  nothing
-- Keys:   x-py:dead-letters, x-py:dead-letters:carrier
-- Args:   token (of the carrier), read_at (when take_dead_letters gave them out), entries [entry_id]
-- Reply:  ["ok", left] | ["too_late"]: nothing was changed, since others may have taken the letters meanwhile
-- Errors: bad_argument
-- Events: none
local SPEC = { token = "string", read_at = "number", entries = "table" }

local MOST = 1000

local function fault_of(entries)
  if #entries > MOST then
    return MOST .. " entries are the most"
  end
  for number, entry_id in ipairs(entries) do
    if type(entry_id) ~= "string" or not string.find(entry_id, "^%d+%-%d+$") then
      return "entry " .. number .. " must be the id of one"
    end
  end
  return nil
end

Library.command("clear_dead_letters", { "allow-oom" }, SPEC, function(keys, args, now)
  local fault = fault_of(args.entries)
  if fault then
    return Replies.bad_argument(fault)
  elseif now - args.read_at > DeadLetters.PATIENCE_MS then
    return Replies.pack("too_late")
  end
  if #args.entries > 0 then
    redis.call("XDEL", keys.dead_letters, unpack(args.entries))
  end
  local left = redis.call("XLEN", keys.dead_letters)
  if left == 0 then
    redis.call("DEL", keys.dead_letters)
    if redis.call("GET", keys.dead_letters_carrier) == args.token then
      redis.call("DEL", keys.dead_letters_carrier)
    end
  end
  return Replies.pack("ok", left)
end)
