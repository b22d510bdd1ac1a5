-- read_vectors: the queue's vectors with the fields that a filter asks for, page by page.
-- Moves:  nothing
-- Keys:   vec, x-py:vectors
-- Args:   fields [name] (the vector's first), after (the last id of the page before; empty at first)
-- Reply:  ["ok", [[id, value or false, ...]], last id or false]; jobs without the first field are left out
-- Errors: bad_argument
-- Events: none
local SPEC = { fields = "table", after = "string" }

local PAGE = 500
local PAGE_BYTES = 1048576

Library.command("read_vectors", { "no-writes" }, SPEC, function(keys, args)
  local from = args.after == "" and "-" or "(" .. args.after
  local ids = redis.call("ZRANGE", keys.vectors, from, "+", "BYLEX", "LIMIT", 0, PAGE)
  local rows, bytes, last = {}, 0, false
  for number, id in ipairs(ids) do
    local values = redis.call("HMGET", keys.vec .. id, unpack(args.fields))
    if values[1] then
      bytes = bytes + #values[1]
      rows[#rows + 1] = { id, unpack(values, 1, #args.fields) }
    end
    if bytes >= PAGE_BYTES or number == PAGE then
      last = id
      break
    end
  end
  return Replies.pack("ok", rows, last)
end)
