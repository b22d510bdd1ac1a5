-- create_job_index: have the search module index the queue's vectors, and note what the index is made of.
-- Moves:  nothing
-- Keys:   vec (all of them, read by the module), x-py:indexes
-- Args:   name, schema [text] (as FT.CREATE takes it), options [text] (of FT.CREATE, before the schema), definition
--         (JSON), fallback (boolean: note the index although no module can serve it)
-- Reply:  ["ok"] | ["exists"] | ["no_module"] | ["cluster"] | ["refused", why]
-- Errors: bad_argument
-- Events: none
local SPEC = {
  name = "string", schema = "table", options = "table", definition = "string", fallback = "boolean",
}

local function create(keys, args)
  local call = { "FT.CREATE", args.name, "ON", "HASH", "PREFIX", "1", keys.vec }
  for _, option in ipairs(args.options) do
    call[#call + 1] = option
  end
  call[#call + 1] = "SCHEMA"
  for _, word in ipairs(args.schema) do
    call[#call + 1] = word
  end
  return JobIndex.ask(unpack(call))
end

Library.command("create_job_index", {}, SPEC, function(keys, args)
  local created, status, why = create(keys, args)
  if created then
    redis.call("HSET", keys.indexes, args.name, args.definition)
    return Replies.pack("ok")
  elseif status == JobIndex.NO_MODULE or status == JobIndex.CLUSTER then
    if args.fallback and redis.call("HSETNX", keys.indexes, args.name, args.definition) == 0 then
      return Replies.pack("exists")
    end
  end
  return Replies.pack(status, why)
end)
