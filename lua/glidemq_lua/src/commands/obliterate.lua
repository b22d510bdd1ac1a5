-- obliterate: delete the queue, every key of it, in bounded rounds.
-- Moves:  any -> (gone)
-- Keys:   all that start with P
-- Args:   force (boolean: also while jobs are active), limit (keys of the server looked at per round),
--         cursor (from the last reply; absent at first)
-- Reply:  {"more", keys deleted, cursor} | {"done", keys deleted} | {"active", number of active jobs}
-- Errors: bad_argument
-- Events: none
--
-- Why a scan: some job hashes, satellites, usage buckets and token windows can be reached from no other key (a
-- parent waiting for its children, a list job that Node runs, a log whose job is gone), and a custom id may have
-- moved the id counter to 10^16. Walking over the queue's own structures would leave keys behind, as Node does. One
-- SCAN step a call with the escaped name of this queue blocks nobody; in a cluster it walks over the one slot alone.
-- The keys from which jobs are started go first, at once: from the first round on nothing of the queue can start.
-- Jobs added meanwhile go, too; the last round takes what they left in those keys.
local SPEC = { force = "boolean", limit = "number", cursor = "?string" }

local CHUNK = 5000

local function active_jobs(keys)
  local pending, returned = Ready.pending(keys)
  return pending - returned + math.max(tonumber(redis.call("GET", keys.list_active)) or 0, 0)
end

local function unlink_sources(keys)
  return redis.call(
    "UNLINK",
    keys.stream,
    keys.priority,
    keys.lifo,
    keys.list_active,
    keys.scheduled,
    keys.suspended,
    keys.ratelimited,
    keys.schedulers,
    keys.cells
  )
end

Library.command("obliterate", { "allow-oom" }, SPEC, function(keys, args)
  local deleted = 0
  if not args.cursor then
    local active = active_jobs(keys)
    if active > 0 and not args.force then
      return Replies.pack("active", active)
    end
    deleted = unlink_sources(keys)
    JobIndex.drop_all(keys)
  end
  local pattern = string.gsub(keys.prefix, "[%*%?%[%]\\]", "\\%0") .. ":*"
  local reply = redis.call("SCAN", args.cursor or "0", "MATCH", pattern, "COUNT", args.limit)
  local found = reply[2]
  for first = 1, #found, CHUNK do
    deleted = deleted + redis.call("UNLINK", unpack(found, first, math.min(first + CHUNK - 1, #found)))
  end
  if reply[1] ~= "0" then
    return Replies.pack("more", deleted, reply[1])
  end
  return Replies.pack("done", deleted + unlink_sources(keys))
end)
