-- Record: a job's hash as a start needs it, and the blob in which the job travels to its processor.
local Record = {}

-- One HMGET reads everything: the members by position first, then those passed on by name if present. (HGETALL is
-- no faster, and a parent's hash holds a field for every finished child.)
local FIELDS = {
  "state", "id", "name", "data", "opts", "timestamp", "attemptsMade", "priority", "revoked", "expireAt",
  "parentId", "parentIds", "groupKey", "cost", "schedulerName", "x-py:crashes", "lifo",
  "parentQueue", "parentQueues", "orderingSeq", "delay", "progress", "signals", "fallbackIndex", "budgetKey",
  "stalledCount", "failedReason", "x-py:waited", Restarts.FIELD,
}
local STATE, ID, NAME, DATA, OPTS, TIMESTAMP, ATTEMPTS_MADE, PRIORITY, REVOKED, EXPIRE_AT =
  1, 2, 3, 4, 5, 6, 7, 8, 9, 10
local PARENT_ID, PARENT_IDS, GROUP_KEY, COST, SCHEDULER_NAME, CRASHES = 11, 12, 13, 14, 15, 16
local PARENT_QUEUE, ORDERING_SEQ, DELAY, BUDGET_KEY = 18, 20, 21, 25
local FIRST_EXTRA = EXPIRE_AT
local COUNT = #FIELDS

Record.STATE = STATE
Record.REVOKED = REVOKED
Record.EXPIRE_AT = EXPIRE_AT

local CONSTRAINED, PROMPT, SUSPECT = 1, 2, 4

-- msgpack: the header of an array of eleven, and an empty map (which cmsgpack would write as an array).
local ARRAY_OF_11 = "\155"
local EMPTY_MAP = "\128"

-- The field values by position (absent ones false), or nil when the key holds no job: it is missing, a stub left
-- behind by a late write, or no hash at all; the second result is then true for the last.
function Record.read(keys, id)
  local values = redis.pcall("HMGET", keys.job .. id, unpack(FIELDS))
  if values.err then
    return nil, true
  end
  if not (values[ID] or values[NAME] or values[DATA] or values[OPTS]) then
    return nil, false
  end
  return values
end

local function is_json_object(text)
  if text == "{}" then
    return true
  end
  local ok, decoded = pcall(cjson.decode, text)
  return ok and type(decoded) == "table"
end

local function number_fault(values, field)
  if values[field] and not tonumber(values[field]) then
    return "field " .. FIELDS[field] .. " is not a number"
  end
  return nil
end

-- Why nobody can run this job, or nil.
function Record.fault(values, id)
  if not values[ID] then
    return "field id is missing"
  elseif values[ID] ~= id then
    return "field id is that of another job"
  elseif not values[NAME] then
    return "field name is missing"
  elseif values[OPTS] and not is_json_object(values[OPTS]) then
    return "field opts is not a JSON object"
  end
  return number_fault(values, TIMESTAMP) or number_fault(values, ATTEMPTS_MADE) or number_fault(values, PRIORITY)
end

-- `expireAt` has passed; a missing or zero one never does.
function Record.is_expired(expire_at, now)
  local limit = tonumber(expire_at)
  return limit ~= nil and limit > 0 and now > limit
end

-- The ordering key, or nil.
function Record.group_key(values)
  local key = values[GROUP_KEY]
  return key and key ~= "" and key or nil
end

-- The job's place in its group, as stored.
function Record.ordering_seq(values)
  return values[ORDERING_SEQ]
end

-- In millitokens, nil for the default.
function Record.cost(values)
  return tonumber(values[COST])
end

-- The options as stored; nil for none.
function Record.options(values)
  local opts = values[OPTS]
  return opts and opts ~= "{}" and opts or nil
end

-- For a message of a broadcast, whose subscriptions count alone.
function Record.set_attempts_made(values, attempts_made)
  values[ATTEMPTS_MADE] = attempts_made
end

function Record.timestamp(values)
  return values[TIMESTAMP]
end

function Record.name(values)
  return values[NAME]
end

-- The options as they are stored, or false.
function Record.opts(values)
  return values[OPTS]
end

function Record.priority(values)
  return values[PRIORITY]
end

-- The key of the budget that the job's flow has, or nil.
function Record.budget_key(values)
  local key = values[BUDGET_KEY]
  return key and key ~= "" and key or nil
end

-- Members of the jobs that depend on this one, at most `limit`; false for none.
function Record.parents(keys, id, values, limit)
  local parents = values[PARENT_IDS] and redis.call("SRANDMEMBER", keys.parents .. id, limit) or {}
  if values[PARENT_ID] and values[PARENT_QUEUE] then
    parents[#parents + 1] = Keys.prefix_of(keys, values[PARENT_QUEUE]) .. ":" .. values[PARENT_ID]
  end
  return #parents > 0 and parents
end

-- How many tokens the job's options say that it will use, or nil.
function Record.stated_tokens(opts)
  if opts and string.find(opts, '"estimatedTokens"', 1, true) then
    local ok, decoded = pcall(cjson.decode, opts)
    local stated = ok and type(decoded) == "table" and decoded.estimatedTokens
    if type(stated) == "number" and stated >= 0 then
      return math.ceil(stated)
    end
  end
  return nil
end

-- A group or a cost limits when the job may start.
function Record.is_constrained(values)
  return values[GROUP_KEY] ~= false or values[COST] ~= false
end

function Record.flags(values)
  local flags = 0
  if Record.is_constrained(values) then
    flags = CONSTRAINED
  end
  if values[PARENT_ID] or values[PARENT_IDS] or values[SCHEDULER_NAME] then
    flags = flags + PROMPT
  end
  if values[CRASHES] then
    flags = flags + SUSPECT
  end
  return flags
end

-- Passed on by name.
local function extras(values)
  local present
  for position = FIRST_EXTRA, COUNT do
    local value = values[position]
    if value and not (position == DELAY and value == "0") then
      present = present or {}
      present[FIELDS[position]] = value
    end
  end
  return present and cmsgpack.pack(present) or EMPTY_MAP
end

-- [id, name, data, opts, timestamp, attemptsMade, priority, processedOn, token, entry_id, extras], packed.
function Record.blob(values, now, token, entry_id)
  return ARRAY_OF_11
    .. cmsgpack.pack(
      values[ID],
      values[NAME],
      values[DATA] or "{}",
      values[OPTS] or "{}",
      tonumber(values[TIMESTAMP]) or 0,
      tonumber(values[ATTEMPTS_MADE]) or 0,
      tonumber(values[PRIORITY]) or 0,
      now,
      token,
      entry_id
    )
    .. extras(values)
end

-- What a host needs without opening the blob: [blob, id, token, entry_id, name, opts, processed_on, flags].
function Record.activation(values, now, token, entry_id)
  local blob = Record.blob(values, now, token, entry_id)
  local opts = values[OPTS] or "{}"
  return { blob, values[ID], token, entry_id, values[NAME], opts, now, Record.flags(values) }
end

-- The payload's share of a reply.
function Record.bytes(values)
  return #(values[DATA] or "") + #(values[OPTS] or "")
end
