-- get_fields: single fields of several jobs.
-- Moves:  nothing
-- Keys:   job
-- Args:   rows [[id, field]]
-- Reply:  ["ok", [value or false]]; one for each of the first rows, as many as make a reply of bounded size: ask again
--         for the others. At least one.
-- Errors: bad_argument
-- Events: none
local MOST = 1000
local MOST_BYTES = 1048576

Library.command("get_fields", { "no-writes" }, { rows = "table" }, function(keys, args)
  local fault = Arguments.row_fault(args.rows, { "string", "string" })
  if fault then
    return Replies.bad_argument(fault)
  end
  local values, bytes = {}, 0
  for number = 1, math.min(#args.rows, MOST) do
    local row = args.rows[number]
    local value = redis.pcall("HGET", keys.job .. row[1], row[2])
    value = type(value) == "string" and value or false
    bytes = bytes + (value and #value or 0)
    if number > 1 and bytes > MOST_BYTES then
      break
    end
    values[number] = value
  end
  return Replies.pack("ok", values)
end)
