-- store_vector: keep an embedding with a job, beside its hash.
-- Moves:  nothing
-- Keys:   job, vec, x-py:vectors
-- Args:   id, field, vector (float32, little-endian), attributes {name = value}: texts and numbers for filters
-- Reply:  ["ok"] | ["missing"]
-- Errors: bad_argument
-- Events: none
local SPEC = { id = "string", field = "string", vector = "string", attributes = "table" }

Library.command("store_vector", {}, SPEC, function(keys, args)
  if #args.vector == 0 or #args.vector % 4 ~= 0 then
    return Replies.bad_argument("vector must be made of float32 numbers")
  elseif not View.exists(keys, args.id) then
    return Replies.pack("missing")
  end
  local fields = { args.field, args.vector }
  for name, value in pairs(args.attributes) do
    local size = #fields
    fields[size + 1], fields[size + 2] = name, tostring(value)
  end
  Vectors.store(keys, args.id, fields)
  return Replies.pack("ok")
end)
