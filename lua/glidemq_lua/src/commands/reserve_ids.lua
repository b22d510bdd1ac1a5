-- reserve_ids: ids for jobs that will be added under them, and a look whether the custom ones are free. Jobs of several
-- queues that refer to one another need them before the first is written.
-- Moves:  nothing
-- Keys:   id, job
-- Args:   count (automatic ids wanted), custom [id]
-- Reply:  ["ok", [id]] | ["duplicate", custom id] | ["id_exhausted"]
-- Errors: bad_argument, bad_id_counter
-- Events: none

-- Reserved ids that a job of somebody's choosing has already are replaced; each takes an INCR and an EXISTS.
local COLLISIONS = 1000
local MOST = 10000

local function next_free(keys, id, collisions)
  while redis.call("EXISTS", keys.job .. id) == 1 do
    if collisions == COLLISIONS then
      return nil
    end
    collisions = collisions + 1
    id = string.format("%.0f", redis.call("INCR", keys.id))
  end
  return id, collisions
end

local function duplicate_among(keys, custom)
  local seen = {}
  for _, id in ipairs(custom) do
    if seen[id] or redis.call("EXISTS", keys.job .. id) == 1 then
      return id
    end
    seen[id] = true
  end
  return nil
end

Library.command("reserve_ids", {}, { count = "number", custom = "table" }, function(keys, args)
  local count = args.count
  if count < 0 or count % 1 ~= 0 or count + #args.custom > MOST then
    return Replies.bad_argument("count must be a whole number, and no more than " .. MOST .. " ids in all")
  end
  for number, id in ipairs(args.custom) do
    if type(id) ~= "string" or id == "" then
      return Replies.bad_argument("custom id " .. number .. " must be a string")
    end
  end
  if type(redis.pcall("INCRBY", keys.id, 0)) ~= "number" then
    return Replies.pack("bad_id_counter", redis.call("GET", keys.id))
  end
  local taken = duplicate_among(keys, args.custom)
  if taken then
    return Replies.pack("duplicate", taken)
  end
  for _, id in ipairs(args.custom) do
    Adding.advance_counter(keys, id)
  end
  local ids, collisions = {}, 0
  local last = redis.call("INCRBY", keys.id, count)
  for number = 1, count do
    local id
    id, collisions = next_free(keys, string.format("%.0f", last - count + number), collisions)
    if not id then
      return Replies.pack("id_exhausted")
    end
    ids[number] = id
  end
  return Replies.pack("ok", ids)
end)
