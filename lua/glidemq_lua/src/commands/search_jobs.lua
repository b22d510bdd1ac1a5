-- search_jobs: the jobs of a state, or of the whole queue, that bear a name, one bounded page at a time.
-- Moves:  nothing
-- Keys:   stream, priority, lifo, scheduled, completed, failed, suspended, x-py:active:*, jobs
-- Args:   state and name (each optional), exclude_data, resume (from the last reply; absent at first)
-- Reply:  {"ok", {{field, value, ...}, ...}, resume or false}
--         A page may be empty and yet not the last. A job that moves meanwhile may be missed, or found twice.
-- Errors: bad_argument
-- Events: none
--
-- Jobs of a state whose structures do not name all of them (parents that wait for children, those parked in one of
-- many groups), and jobs of any state, are found by a scan for their hashes. In a cluster that walks over the one slot.
local SPEC = { state = "?string", name = "?string", exclude_data = "?boolean", resume = "?table" }

-- Positions looked at per call, 3 to 5 us each, and keys of the server per step of a scan.
local BUDGET = 1000

local SCAN = "scan"

-- {segment, position, skip, take} of a walk, or {"scan", cursor, ids found and not looked at yet}.
local function resume_fault(resume)
  if resume[1] == SCAN then
    return Arguments.row_fault({ resume }, { "string", "string", "table" })
  end
  return Arguments.row_fault({ resume }, { "number", "any", "number", "number" })
end

-- A walk names the structure, but what stands there may be the trace of a job that is elsewhere by now.
local function filtered(keys, args, add)
  return function(id)
    local values = redis.pcall("HMGET", keys.job .. id, "state", "name")
    if values.err or args.state and values[1] ~= args.state or args.name and values[2] ~= args.name then
      return false
    end
    return add(id)
  end
end

-- Ids have no colon, keys beside a job's do.
local function next_ids(keys, cursor)
  local pattern = string.gsub(keys.job, "[%*%?%[%]\\]", "\\%0") .. "*"
  local reply = redis.call("SCAN", cursor, "MATCH", pattern, "COUNT", BUDGET)
  local ids = {}
  for _, key in ipairs(reply[2]) do
    local id = string.sub(key, #keys.job + 1)
    if not string.find(id, ":", 1, true) then
      ids[#ids + 1] = id
    end
  end
  return reply[1], ids
end

-- A step of the scan finds more than a page may hold: what is left of it travels with the caller.
local function scan(keys, cursor, ids, collect)
  if #ids == 0 then
    cursor, ids = next_ids(keys, cursor)
  end
  local left, full = {}, false
  for _, id in ipairs(ids) do
    if full then
      left[#left + 1] = id
    else
      full = collect(id)
    end
  end
  if #left == 0 and cursor == "0" then
    return nil
  end
  return { SCAN, cursor, left }
end

Library.command("search_jobs", { "no-writes" }, SPEC, function(keys, args)
  local resume = args.resume
  local fault = resume and resume_fault(resume)
  if fault then
    return Replies.bad_argument("resume: " .. fault)
  end
  local jobs, add = View.page(keys, args.exclude_data)
  local collect = filtered(keys, args, add)
  local segments = args.state and args.state ~= "waiting-children" and Listing.segments(keys, args.state)
  local rest
  if segments and not (resume and resume[1] == SCAN) then
    rest = Walk.advance(segments, resume or Walk.start(segments, 0, -1), BUDGET, collect)
  else
    resume = resume or { SCAN, "0", {} }
    rest = scan(keys, resume[2], resume[3], collect)
  end
  return Replies.pack("ok", jobs, rest or false)
end)
