-- signal: tell a suspended job what it waits for, so that it goes on. For one that does not wait yet it is kept.
-- Moves:  suspended -> waiting, or prioritized
-- Keys:   job, signals, suspended, stream, scheduled, lifo, events, bell, x-py:add
-- Args:   id, name, data (the text of a JSON value, or empty), idem (unique for this signal)
-- Reply:  ["resumed"] | ["kept"] | ["full"] | ["finished"] | ["not_found"]
--         kept: the next suspend takes it up. full: too many are kept already, this one is not.
-- Errors: bad_argument
-- Events: resumed {signal}
local SPEC = { id = "string", name = "string", data = "string", idem = "string" }

local REPLY_KEPT_MS = 60000

local function deliver(keys, args, now)
  local id = args.id
  local job = redis.call("HMGET", keys.job .. id, "id", "state", "name")
  if not job[1] then
    return "not_found"
  elseif Schedulers.has_ended(job[2]) then
    return "finished"
  end
  local signal = Suspension.signal(args.name, args.data, now)
  if not States.allows("signal", job[2]) then
    return Suspension.keep(keys, id, signal) and "kept" or "full"
  end
  local settlement = Settlement.open(keys, now, args)
  Suspension.resume(settlement, id, job[3], { signal })
  settlement:close()
  return "resumed"
end

-- Not for a server without memory: what it would write has no other place.
Library.command("signal", {}, SPEC, function(keys, args, now)
  local remembered = keys.add_reply .. args.idem
  local status = redis.call("GET", remembered)
  if not status then
    status = deliver(keys, args, now)
    redis.call("SET", remembered, status, "PX", REPLY_KEPT_MS)
  end
  return Replies.pack(status)
end)
