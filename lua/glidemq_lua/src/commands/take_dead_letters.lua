-- take_dead_letters: the oldest letters of the outbox, for one carrier at a time. They stay there until clear_dead_letters.
-- Moves:  nothing
-- Keys:   meta, x-py:dead-letters, x-py:dead-letters:carrier
-- Args:   token (of the carrier), lease_ms (for so long the others leave the letters to it), limit
-- Reply:  ["ok", now_ms, name of the dead letter queue or false,
--         [[entry_id, to, job, name, data, opts, reason, attempts, error, at]], lost]
--         lost: letters that the outbox had no room for, ever
--         ["busy", ms]: another carrier has them
-- Errors: bad_argument
-- Events: none
local SPEC = { token = "string", lease_ms = "number", limit = "number" }

local MOST = 100
local MOST_BYTES = 1048576
local READ_AT_ONCE = 4 -- of up to 2 MiB each

local FIELDS = { "to", "job", "name", "data", "opts", "reason", "attempts", "error", "at" }

local function letter_of(entry)
  local fields = {}
  for index = 1, #entry[2], 2 do
    fields[entry[2][index]] = entry[2][index + 1]
  end
  local letter = { entry[1] }
  for index, name in ipairs(FIELDS) do
    letter[index + 1] = fields[name] or ""
  end
  return letter, #letter[5] + #letter[6] + #letter[7]
end

local function read(keys, limit)
  local letters, bytes, from = {}, 0, "-"
  while #letters < limit do
    local entries = redis.call("XRANGE", keys.dead_letters, from, "+", "COUNT", READ_AT_ONCE)
    for _, entry in ipairs(entries) do
      local letter, size = letter_of(entry)
      bytes = bytes + size
      if #letters > 0 and bytes > MOST_BYTES or #letters == limit then
        return letters
      end
      letters[#letters + 1] = letter
    end
    if #entries < READ_AT_ONCE then
      break
    end
    from = "(" .. entries[#entries][1]
  end
  return letters
end

Library.command("take_dead_letters", { "allow-oom" }, SPEC, function(keys, args, now)
  local letters = {}
  if redis.call("EXISTS", keys.dead_letters) == 1 then
    local lease = math.max(math.min(args.lease_ms, DeadLetters.PATIENCE_MS), 1)
    local carrier = redis.call("GET", keys.dead_letters_carrier)
    if carrier and carrier ~= args.token then
      return Replies.pack("busy", math.max(redis.call("PTTL", keys.dead_letters_carrier), 1))
    end
    redis.call("SET", keys.dead_letters_carrier, args.token, "PX", lease)
    letters = read(keys, math.max(math.min(args.limit, MOST), 1))
  end
  local lost = tonumber(redis.call("HGET", keys.meta, DeadLetters.LOST)) or 0
  return Replies.pack("ok", now, DeadLetters.of_queue(keys) or false, letters, lost)
end)
