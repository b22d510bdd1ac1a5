-- JobIndex: the search indexes over a queue's vectors. What an index is made of is kept in `P:x-py:indexes`, whether or
-- not the server has a search module: without one, clients search by themselves.
local JobIndex = {}

-- Where a search module does not help.
JobIndex.NO_MODULE = "no_module"
JobIndex.CLUSTER = "cluster" -- modules index keys of a node, and a client's calls may reach another one

local function is_cluster()
  local about = redis.call("INFO", "cluster")
  return string.find(about, "cluster_enabled:1", 1, true) ~= nil
end

-- What the module's words mean: "no_module" (also one that no function may call), "no_index", "exists", or "refused".
local function status_of(err)
  local text = string.lower(err)
  if string.find(text, "unknown .-command") or string.find(text, "not allowed from script", 1, true) then
    return JobIndex.NO_MODULE
  elseif string.find(text, "already exists", 1, true) then
    return "exists"
  elseif string.find(text, "no such index", 1, true) or string.find(text, "unknown index", 1, true)
    or string.find(text, "index .-not found") then
    return "no_index"
  end
  return "refused"
end

-- Calls the search module. Returns its reply; or nil, a status and, if it was refused, why.
function JobIndex.ask(...)
  if is_cluster() then
    return nil, JobIndex.CLUSTER
  end
  local reply = redis.pcall(...)
  if type(reply) == "table" and reply.err then
    local status = status_of(reply.err)
    return nil, status, reply.err
  end
  return reply
end

-- The JSON text in which its creator described an index, or nil.
function JobIndex.definition(keys, name)
  return redis.call("HGET", keys.indexes, name) or nil
end

-- The module answers with texts of either kind.
local function text_of(value)
  return type(value) == "table" and value.ok or value
end

local function pairs_of(flat)
  local members = {}
  for index = 1, #flat - 1, 2 do
    members[text_of(flat[index])] = text_of(flat[index + 1])
  end
  return members
end

-- The name of an index's vector field; or nil and why there is none, "no_vector_field" or what `ask` says.
function JobIndex.vector_field(keys, name)
  local definition = JobIndex.definition(keys, name)
  if definition then
    local ok, decoded = pcall(cjson.decode, definition)
    if ok and type(decoded.vector) == "table" then
      return decoded.vector.name
    end
    return nil, "no_vector_field"
  end
  -- Made by another library, if at all.
  local info, status = JobIndex.ask("FT.INFO", name)
  for _, attribute in ipairs(info and pairs_of(info).attributes or {}) do
    local about = pairs_of(attribute)
    if about.type == "VECTOR" then
      return about.identifier
    end
  end
  return nil, status or "no_vector_field"
end

-- The queue goes, and its indexes with it.
function JobIndex.drop_all(keys)
  for _, name in ipairs(redis.call("HKEYS", keys.indexes)) do
    JobIndex.ask("FT.DROPINDEX", name)
  end
end
