-- stream_append: append chunks to the streams of any number of jobs.
-- Moves:  nothing
-- Keys:   job, jstream, x-py:lane:<lane>
-- Args:   lane (whoever makes these calls, one at a time), call (their number, growing), rows [[id, run, number, limit,
--         ttl_ms, field, value, ...]]: run false for a caller that does not run the job; number counts the writer's
--         chunks of the job from 1; limit and ttl_ms false for the defaults
-- Reply:  {"ok", [entry id, or a code: 3 gone, 4 lease_lost]} | {"stale"}: a later call of the lane was executed
--         A call that is repeated gets the reply of the first time and appends nothing.
-- Errors: bad_argument
-- Events: none
local SPEC = { lane = "string", call = "number", rows = "table" }
local FIRST_FIELD = 6

-- How long a reply is remembered: longer than anybody repeats a call.
local REMEMBERED_MS = 60000

local function rows_fault(rows)
  for number = 1, #rows do
    local row = rows[number]
    if type(row) ~= "table" or type(row[1]) ~= "string" or type(row[3]) ~= "number" or #row < FIRST_FIELD + 1 then
      return "row " .. number .. " is no chunk"
    end
  end
  return nil
end

Library.command("stream_append", {}, SPEC, function(keys, args)
  local rows = args.rows
  local fault = rows_fault(rows)
  if fault then
    return Replies.bad_argument(fault)
  end
  local lane = keys.lane .. args.lane
  local call = string.format("%015.0f", args.call)
  local before = redis.call("GETRANGE", lane, 0, 14)
  if before == call then
    return string.sub(redis.call("GET", lane), 16)
  elseif before > call then
    return Replies.pack("stale")
  end
  local ids = {}
  for number = 1, #rows do
    local row = rows[number]
    ids[number] = JobStreams.append(keys, row[1], row[2], row[3], row[4], row[5], row, FIRST_FIELD)
  end
  local reply = Replies.pack("ok", ids)
  redis.call("SET", lane, call .. reply, "PX", REMEMBERED_MS)
  return reply
end)
