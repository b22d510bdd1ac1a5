-- read_stream: chunks of a job's stream behind a position, and whether more may come.
-- Moves:  nothing
-- Keys:   job, jstream
-- Args:   id, last_id ("<ms>-<n>", exclusive; 0-0 for the beginning), count
-- Reply:  {"ok", [[entry id, [field, value, ...]]], state of the job or false, more (boolean: of what is there), the id
--         of the last chunk that is gone although it stood behind last_id, or false}; the state is "removed" while the
--         stream of a job outlasts it that has gone because it had ended
-- Errors: bad_argument
-- Events: none
local SPEC = { id = "string", last_id = "string", count = "number" }

local MOST = 1000
local REPLY_BYTES = 1048576
local CHUNK = 20 -- entries read at once; each may be 1 MiB long

local function is_before(id, other)
  local ms, n = string.match(id, "^(%d+)-(%d+)$")
  local other_ms, other_n = string.match(other, "^(%d+)-(%d+)$")
  ms, other_ms = tonumber(ms), tonumber(other_ms)
  return ms < other_ms or ms == other_ms and tonumber(n) < tonumber(other_n)
end

-- Entries behind `last_id`, and whether there are others behind them.
local function read(key, last_id, count)
  local entries, bytes = {}, 0
  while #entries < count and bytes < REPLY_BYTES do
    local wanted = math.min(CHUNK, count - #entries)
    local found = redis.call("XRANGE", key, "(" .. last_id, "+", "COUNT", wanted)
    for _, entry in ipairs(found) do
      entries[#entries + 1] = entry
      bytes = bytes + View.size(entry[2])
    end
    if #found < wanted then
      return entries, false
    end
    last_id = found[#found][1]
  end
  return entries, true
end

Library.command("read_stream", { "no-writes" }, SPEC, function(keys, args)
  if not string.match(args.last_id, "^%d+-%d+$") then
    return Replies.bad_argument("last_id must be the id of an entry")
  end
  local values = redis.pcall("HMGET", keys.job .. args.id, "state", JobStreams.MARK)
  if values.err then
    return Replies.pack("ok", {}, false, false, false)
  end
  local state, mark = values[1], JobStreams.parse(values[2])
  local key = keys.jstream .. args.id
  if not state then
    state = redis.call("EXISTS", key) == 1 and "removed"
  elseif JobStreams.is_left_behind(keys, args.id, values[2]) then
    return Replies.pack("ok", {}, state, false, false)
  end
  local gone = mark.trimmed
  if is_before(gone, mark.last) and redis.call("EXISTS", key) == 0 then
    gone = mark.last -- it was kept long enough
  end
  if is_before(args.last_id, gone) then
    return Replies.pack("ok", {}, state, false, gone)
  end
  local entries, more = read(key, args.last_id, math.min(args.count, MOST))
  return Replies.pack("ok", entries, state, more, false)
end)
