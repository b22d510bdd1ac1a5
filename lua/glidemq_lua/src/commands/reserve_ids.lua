-- reserve_ids: ids for jobs that will be added under them, and a look whether the custom ones are free. Jobs of several
-- queues that refer to one another need them before the first is written.
-- Moves:  nothing
-- Keys:   id, job
-- Args:   count (automatic ids wanted), custom [id]
-- Reply:  ["ok", [id]] | ["duplicate", custom id] | ["id_exhausted"]
-- Errors: bad_argument, bad_id_counter
-- Events: none

-- Ids that a job of somebody's choosing has already are passed over, so many of them at most.
local COLLISIONS = 1000
local MOST = 10000

-- Returns nil when it is to no avail.
local function take(keys, count)
  local ids, next_id, collisions = {}, Adding.counter(keys), 0
  while #ids < count do
    local id = next_id()
    if redis.call("EXISTS", keys.job .. id) == 0 then
      ids[#ids + 1] = id
    elseif collisions == COLLISIONS then
      return nil
    else
      collisions = collisions + 1
    end
  end
  return ids
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
  local ids = take(keys, args.count)
  if not ids then
    return Replies.pack("id_exhausted")
  end
  return Replies.pack("ok", ids)
end)
