-- Usage: what a job's calls to models have used: tokens and costs by category, totals, model, provider, time.
--
-- The fields `usage:*` hold all runs of the job together; Node reads and writes them. Within one run a report replaces
-- the one before, so what the earlier runs used is kept apart, in x-py:usage: a JSON object {run, base, part, models}
-- of the run that reported last, the usage of the runs before it, its own, and the models of the runs before it. `base`
-- and `part` are missing while only one run has reported: its part is what usage:* say.
local Usage = {}

Usage.SHARE = "x-py:usage"

local TEXTS = { "model", "provider", "costUnit" }
local TOTALS = { "totalTokens", "totalCost", "latencyMs" }
local MAPS = { "tokens", "costs" }
-- The names behind the fields after the first, in the same order.
local NAMES = {
  "model", "provider", "tokens", "totalTokens", "costs", "totalCost", "costUnit", "latencyMs", "cached",
}
local BUCKET = "usage:bucketTs"

Usage.FIELDS = {
  BUCKET, "usage:model", "usage:provider", "usage:tokens", "usage:totalTokens", "usage:costs", "usage:totalCost",
  "usage:costUnit", "usage:latencyMs", "usage:cached",
}

local function number(text)
  local value = tonumber(text)
  return value and value == value and math.abs(value) < math.huge and value or nil
end

-- The usage that stored texts by name tell of, or nil when they tell nothing.
local function parse(texts)
  local usage, empty = { tokens = {}, costs = {} }, true
  for _, name in ipairs(NAMES) do
    empty = empty and (texts[name] or "") == ""
  end
  if empty then
    return nil
  end
  for _, name in ipairs(TEXTS) do
    usage[name] = texts[name] ~= "" and texts[name] or nil
  end
  for _, name in ipairs(TOTALS) do
    usage[name] = number(texts[name])
  end
  for _, name in ipairs(MAPS) do
    usage[name] = JsonValue.read_numbers(texts[name])
  end
  if texts.cached == "1" or texts.cached == "0" then
    usage.cached = texts.cached == "1"
  end
  return usage
end

-- The usage in the values of Usage.FIELDS, or nil; and the minute that it was counted in.
function Usage.of_fields(values, first)
  local texts = {}
  for position, name in ipairs(NAMES) do
    texts[name] = values[first + position] or nil
  end
  return parse(texts), number(values[first])
end

-- name -> the text of its value, for the members that are there.
local function texts_of(usage)
  local texts = {}
  for _, name in ipairs(TEXTS) do
    texts[name] = usage[name]
  end
  for _, name in ipairs(TOTALS) do
    texts[name] = usage[name] and JsonValue.number(usage[name])
  end
  for _, name in ipairs(MAPS) do
    texts[name] = next(usage[name]) and JsonValue.numbers(usage[name]) or nil
  end
  if usage.cached ~= nil then
    texts.cached = usage.cached and "1" or "0"
  end
  return texts
end

local JSON_ORDER = {
  "model", "provider", "tokens", "costs", "costUnit", "latencyMs", "cached", "totalTokens", "totalCost",
}

-- One JSON object, as the event carries it.
function Usage.json(usage)
  local texts, parts = texts_of(usage), {}
  for _, name in ipairs(JSON_ORDER) do
    local text = texts[name]
    if name == "cached" and text then
      text = usage.cached and "true" or "false"
    elseif text and (name == "model" or name == "provider" or name == "costUnit") then
      text = cjson.encode(text)
    end
    if text then
      parts[#parts + 1] = '"' .. name .. '":' .. text
    end
  end
  return "{" .. table.concat(parts, ",") .. "}"
end

local function of_json(decoded)
  if type(decoded) ~= "table" then
    return nil
  end
  local usage = { tokens = {}, costs = {} }
  for _, name in ipairs(TEXTS) do
    usage[name] = type(decoded[name]) == "string" and decoded[name] or nil
  end
  for _, name in ipairs(TOTALS) do
    usage[name] = type(decoded[name]) == "number" and decoded[name] or nil
  end
  for _, name in ipairs(MAPS) do
    for category, value in pairs(type(decoded[name]) == "table" and decoded[name] or {}) do
      usage[name][category] = tonumber(value)
    end
  end
  if type(decoded.cached) == "boolean" then
    usage.cached = decoded.cached
  end
  return usage
end

-- What two parts of a job come to; where they cannot be added, the later one's word counts.
function Usage.sum(earlier, later)
  if not earlier then
    return later
  end
  local usage = {}
  for _, name in ipairs(TEXTS) do
    usage[name] = later[name] or earlier[name]
  end
  for _, name in ipairs(TOTALS) do
    if earlier[name] or later[name] then
      usage[name] = (earlier[name] or 0) + (later[name] or 0)
    end
  end
  for _, name in ipairs(MAPS) do
    local values = {}
    for category, value in pairs(earlier[name]) do
      values[category] = value
    end
    for category, value in pairs(later[name]) do
      values[category] = (values[category] or 0) + value
    end
    usage[name] = values
  end
  usage.cached = later.cached
  if usage.cached == nil then
    usage.cached = earlier.cached
  end
  return usage
end

-- The shares of a job's runs: {run, base (nil: none), part (nil: none has reported), models (of the base)}.
local function read_shares(text, stored)
  local ok, decoded = pcall(cjson.decode, text or "")
  if not ok or type(decoded) ~= "table" or type(decoded.run) ~= "string" then
    -- Node wrote it, or nobody did.
    return { run = "", part = stored, models = {} }
  end
  local models = {}
  for _, model in ipairs(type(decoded.models) == "table" and decoded.models or {}) do
    models[#models + 1] = tostring(model)
  end
  local base = of_json(decoded.base)
  return { run = decoded.run, base = base, part = base and of_json(decoded.part) or stored, models = models }
end

local function includes(list, wanted)
  for _, value in ipairs(list) do
    if value == wanted then
      return true
    end
  end
  return false
end

-- All models that a job's runs have used, from its stored usage and the text of its shares.
function Usage.models(stored, share_text)
  local shares = read_shares(share_text, stored)
  local models = shares.models
  if stored.model and not includes(models, stored.model) then
    models[#models + 1] = stored.model
  end
  return models
end

-- What one part of a job adds to a bucket: every job counts once, and once per model.
local function contribution(part, base, models)
  return {
    jobCount = base and 0 or 1,
    totalTokens = part.totalTokens or 0,
    totalCost = part.totalCost or 0,
    tokens = part.tokens,
    costs = part.costs,
    model = part.model and not includes(models, part.model) and part.model or nil,
    costUnit = part.costUnit,
  }
end

local function write_shares(keys, id, shares)
  local text = '{"run":' .. cjson.encode(shares.run)
  if shares.base then
    text = text .. ',"base":' .. Usage.json(shares.base) .. ',"part":' .. Usage.json(shares.part)
  end
  if #shares.models > 0 then
    text = text .. ',"models":' .. JsonValue.texts(shares.models)
  end
  redis.call("HSET", keys.job .. id, Usage.SHARE, text .. "}")
end

local function write_fields(keys, id, values, usage, minute)
  local job, texts = keys.job .. id, texts_of(usage)
  local fields, stale = { BUCKET, JsonValue.number(minute) }, {}
  for position, name in ipairs(NAMES) do
    if texts[name] then
      fields[#fields + 1], fields[#fields + 2] = "usage:" .. name, texts[name]
    elseif values[1 + position] then
      stale[#stale + 1] = "usage:" .. name
    end
  end
  if #stale > 0 then
    redis.call("HDEL", job, unpack(stale))
  end
  redis.call("HSET", job, unpack(fields))
end

-- Takes down what the run `run` of a job reports. `values` are those of Usage.FIELDS, `share_text` that of x-py:usage.
-- Returns the job's usage from now on, and whether the minute's bucket is new.
function Usage.report(keys, id, run, part, values, share_text, minute)
  local stored, old_minute = Usage.of_fields(values, 1)
  local shares = read_shares(share_text, stored)
  local replaced
  if shares.part and shares.run == run then
    replaced = contribution(shares.part, shares.base, shares.models)
  elseif shares.part then
    if shares.part.model and not includes(shares.models, shares.part.model) then
      shares.models[#shares.models + 1] = shares.part.model
    end
    shares.base = stored or shares.part
  end
  shares.run, shares.part = run, part
  local usage = Usage.sum(shares.base, part)
  write_fields(keys, id, values, usage, minute)
  write_shares(keys, id, shares)
  local added = contribution(part, shares.base, shares.models)
  return usage, UsageBuckets.replace(keys, replaced, old_minute, added, minute)
end
