-- add_dead_letters: letters of another queue arrive in this one, each once however often it is brought.
-- Moves:  (new) -> waiting
-- Keys:   id, job, stream, events, x-py:letters
-- Args:   source (the bare name of the queue that they are from), read_at (when its server gave them out), oldest (the
--         first entry of its outbox then), letters [[entry_id, original id, name, envelope, original data or false,
--         opts, error, reason]]
-- Reply:  ["ok", [id or false]]; false: it has arrived before
--         ["too_late"]: nothing was changed, since others may have brought and forgotten them meanwhile
-- Errors: bad_argument, bad_id_counter
-- Events: added
--
-- `P:x-py:letters:<source>` holds the entries that have arrived, scored with the last time that somebody brought them.
-- One is forgotten once it has left the outbox and nobody can bring it any more: whoever brings it has read it before
-- it left, which was PATIENCE_MS after the last arrival at most, and brings it PATIENCE_MS after that at most. The rest
-- is for clocks of the two servers that differ.
local SPEC = { source = "string", read_at = "number", oldest = "string", letters = "table" }
local ROW = { "string", "string", "string", "string", "?string", "string", "string", "string" }

local REMEMBERED_MS = 5 * DeadLetters.PATIENCE_MS
local FORGOTTEN_AT_ONCE = 1000

local function parse(entry_id)
  local ms, seq = string.match(entry_id, "^(%d+)%-(%d+)")
  return tonumber(ms), tonumber(seq)
end

local function is_before(entry, ms, seq)
  local entry_ms, entry_seq = parse(entry)
  return entry_ms < ms or entry_ms == ms and entry_seq < seq
end

local function forget(arrived, oldest, now)
  local ms, seq = parse(oldest)
  local old = redis.call(
    "ZRANGE", arrived, "-inf", now - REMEMBERED_MS, "BYSCORE", "LIMIT", 0, FORGOTTEN_AT_ONCE
  )
  for _, entry in ipairs(old) do
    if is_before(entry, ms, seq) then
      redis.call("ZREM", arrived, entry)
    end
  end
end

local function fault_of(args)
  local fault = Arguments.row_fault(args.letters, ROW)
  if fault or not parse(args.oldest) then
    return fault or "oldest must be the id of an entry"
  end
  for number, letter in ipairs(args.letters) do
    if not parse(letter[1]) then
      return "row " .. number .. " must begin with the id of an entry"
    end
  end
  return nil
end

Library.command("add_dead_letters", {}, SPEC, function(keys, args, now)
  local fault = fault_of(args)
  if fault then
    return Replies.bad_argument(fault)
  elseif now - args.read_at > DeadLetters.PATIENCE_MS then
    return Replies.pack("too_late")
  end
  local arrived = keys.letters .. args.source
  forget(arrived, args.oldest, now)
  local rows, news, seen = {}, {}, {}
  for number, letter in ipairs(args.letters) do
    -- The job's id, too: a server that lost its last seconds may issue an entry's id again.
    local entry = letter[1] .. ":" .. letter[2]
    local known = seen[entry] or redis.call("ZSCORE", arrived, entry)
    seen[entry] = true
    if not known then
      rows[#rows + 1] = { letter[3], letter[4], "{}", 0, 0, 0, 0, 0, false, false, false, false }
    end
    news[number] = { entry, not known and rows[#rows] }
  end
  local next_id = Adding.id_source(keys, rows)
  if not next_id then
    return Replies.pack("bad_id_counter", redis.call("GET", keys.id))
  end
  local ids = {}
  for number, new in ipairs(news) do
    ids[number] = new[2] and Adding.add(keys, new[2], now, next_id, true, {})
    if ids[number] then
      Letters.describe(keys, ids[number], args.source, { unpack(args.letters[number], 5, 8) })
    end
    redis.call("ZADD", arrived, now, new[1])
  end
  return Replies.pack("ok", ids)
end)
