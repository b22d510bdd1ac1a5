-- get_flow_usage: what some jobs of a queue have used, and which children they have. The caller walks the tree, whose
-- jobs may live in other queues and so in other slots.
-- Moves:  nothing
-- Keys:   job, deps
-- Args:   rows [[id, cursor]]: cursor "0" to begin with a job; a later one goes on with its children
-- Reply:  {"ok", [[usage (JSON) or false, [model], [child, ...], cursor or false]]}: a row for each of the first rows;
--         those without one are to be asked for again. A child is "<prefix>:{<queue>}:<id>". Usage comes with the first
--         page of a job's children alone.
-- Errors: bad_argument
-- Events: none
local ROW = { "string", "string" }

-- A reply holds at least so many children and one page more, if there are so many.
local CHILDREN = 2000
local PAGE = 500

local function read_usage(keys, id)
  local values = redis.pcall("HMGET", keys.job .. id, Usage.SHARE, unpack(Usage.FIELDS))
  local usage = not values.err and Usage.of_fields(values, 2)
  if not usage then
    return false, {}
  end
  return Usage.json(usage), Usage.models(usage, values[1])
end

Library.command("get_flow_usage", { "no-writes" }, { rows = "table" }, function(keys, args)
  local fault = Arguments.row_fault(args.rows, ROW)
  if fault then
    return Replies.bad_argument(fault)
  end
  local answers, found = {}, 0
  for number, row in ipairs(args.rows) do
    if found >= CHILDREN then
      break
    end
    local id, cursor = row[1], row[2]
    local usage, models = false, {}
    if cursor == "0" then
      usage, models = read_usage(keys, id)
    end
    local reply = redis.pcall("SSCAN", keys.deps .. id, cursor, "COUNT", PAGE)
    local children = reply.err and {} or reply[2]
    found = found + #children
    answers[number] = { usage, models, children, not reply.err and reply[1] ~= "0" and reply[1] }
  end
  return Replies.pack("ok", answers)
end)
