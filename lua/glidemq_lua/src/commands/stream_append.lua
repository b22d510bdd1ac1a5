-- stream_append: append chunks to the streams of any number of jobs.
-- Moves:  nothing
-- Keys:   job, jstream, x-py:streaming, x-py:lane:<lane>
-- Args:   lane (whoever makes these calls, one at a time), call (their number, growing), era (of the reply before, 0 at
--         first), chunks: see JobStreams.append
-- Reply:  {"ok", "<entry id> <entry id> ...", era}, in place of an id a code: 3 gone, 4 lease_lost; era 0: look at every
--         chunk | {"stale"}: a later call of the lane was executed.
--         A call that is repeated gets the reply of the first time and appends nothing.
-- Errors: bad_argument
-- Events: none
local SPEC = { lane = "string", call = "number", era = "number", chunks = "table" }
-- How long a reply is remembered: longer than anybody repeats a call.
local REMEMBERED_MS = 60000

Library.command("stream_append", {}, SPEC, function(keys, args, now)
  local chunks = args.chunks
  if not JobStreams.are_chunks(chunks) then
    return Replies.bad_argument("chunks are no chunks")
  end
  local lane = keys.lane .. args.lane
  local call = string.format("%015.0f", args.call)
  local before = redis.call("GETRANGE", lane, 0, 14)
  if before == call then
    return string.sub(redis.call("GET", lane), 16)
  elseif before > call then
    return Replies.pack("stale")
  end
  local ids, era = JobStreams.append(keys, chunks, args.era, now)
  local reply = Replies.pack("ok", table.concat(ids, " "), era)
  redis.call("SET", lane, call .. reply, "PX", REMEMBERED_MS)
  return reply
end)
