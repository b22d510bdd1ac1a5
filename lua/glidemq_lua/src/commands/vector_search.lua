-- vector_search: the jobs whose vectors are nearest to one, as the search module finds them.
-- Moves:  nothing
-- Keys:   vec, x-py:indexes
-- Args:   index, filter (in the module's words), k, vector (float32, little-endian), score_field, options [text] (of
--         FT.SEARCH)
-- Reply:  ["ok", [[id, score]]], in the module's order, scores as texts
--         ["no_module" | "cluster" | "no_index", definition or false]: the client has to search by itself, if the index
--         is known at all
--         ["no_vector_field", false] | ["refused", why]
-- Errors: bad_argument
-- Events: none
local SPEC = {
  index = "string", filter = "string", k = "number", vector = "string", score_field = "string", options = "table",
}

local function score_of(fields, name)
  for position = 1, #fields - 1, 2 do
    if fields[position] == name then
      return fields[position + 1]
    end
  end
  return nil
end

-- A reply is {total, key, {field, value, ...}, ...}; the id is what follows the key's last colon.
local function found_in(reply, score_field)
  local found = {}
  for position = 2, #reply - 1, 2 do
    local id, score = string.match(reply[position], "([^:]+)$"), score_of(reply[position + 1], score_field)
    if id and score then
      found[#found + 1] = { id, tostring(score) }
    end
  end
  return found
end

Library.command("vector_search", { "no-writes" }, SPEC, function(keys, args)
  local field, missing = JobIndex.vector_field(keys, args.index)
  if not field then
    return Replies.pack(missing, false)
  end
  local filter = args.filter == "*" and "*" or "(" .. args.filter .. ")"
  local query = filter .. "=>[KNN " .. args.k .. " @" .. field .. " $BLOB AS " .. args.score_field .. "]"
  local reply, status, why = JobIndex.ask(
    "FT.SEARCH", args.index, query, "PARAMS", "2", "BLOB", args.vector, "RETURN", "1", args.score_field,
    "LIMIT", "0", args.k, "DIALECT", "2", unpack(args.options)
  )
  if reply then
    return Replies.pack("ok", found_in(reply, args.score_field))
  elseif status == "refused" then
    return Replies.pack("refused", why)
  end
  return Replies.pack(status, JobIndex.definition(keys, args.index) or false)
end)
