-- remove: delete a job in any state, with everything that belongs to it.
-- Moves:  any -> (gone); whoever runs it learns so from the code "gone" of its outcome
-- Keys:   job and its satellites, stream, priority, lifo, list-active, scheduled, completed, failed, suspended,
--         groupq, group, ratelimited, ordering, x-py:active:*, schedulers, events
-- Args:   id, resume (from the last reply; absent at first)
-- Reply:  {"ok", resume or false} | {"missing"}
--         A resume means: the job is gone, but its stream entry was not found among the likeliest; call
--         again with it to go on. `step` drops an entry left behind, but a Node worker would run it as a stub.
-- Errors: bad_argument
-- Events: removed; what its group lets go instead may end as expired or failed
local SPEC = { id = "string", resume = "?table" }

-- Entries searched per call, about 2 us each.
local BUDGET = 2000

local ID, STATE, LIFO, PRIORITY, TIMESTAMP, GROUP_KEY, CELL = 1, 2, 3, 4, 5, 6, 7

-- Takes a list-sourced active job of ours out of its cell's set and out of the count.
local function leave_cell(keys, id, cell)
  if not cell or not redis.call("ZSCORE", keys.active_of .. cell, id) then
    return false
  end
  Active.leave(keys, cell, { id })
  return true
end

local function count_one_less(keys)
  if (tonumber(redis.call("GET", keys.list_active)) or 0) > 0 then
    redis.call("DECR", keys.list_active)
  end
end

-- Takes the job out of the lists and sets. Returns the stream ranges where its entry may stand, and whether it
-- counts as list-sourced if it is not found there: nobody notes where a Node worker took a job from.
local function withdraw(keys, id, job)
  local state = job[STATE]
  for _, set in ipairs({ keys.scheduled, keys.completed, keys.failed, keys.suspended }) do
    redis.call("ZREM", set, id)
  end
  if state == "group-waiting" and job[GROUP_KEY] then
    redis.call("ZREM", keys.groupq .. job[GROUP_KEY], id)
  elseif state == "active" and not leave_cell(keys, id, job[CELL]) then
    return Entries.ranges_of_active(keys), job[LIFO] == "1" or (tonumber(job[PRIORITY]) or 0) > 0
  elseif state == "waiting" then
    local listed = redis.call("LREM", keys.lifo, 0, id) + redis.call("LREM", keys.priority, 0, id)
    return listed > 0 and {} or Entries.ranges_of_waiting(job[TIMESTAMP]), false
  end
  return {}, false
end

Library.command("remove", { "allow-oom" }, SPEC, function(keys, args, now)
  local id = args.id
  local ranges, from_list
  if args.resume then
    ranges, from_list = args.resume[1], args.resume[2]
    if type(ranges) ~= "table" or Arguments.row_fault(ranges, { "string", "string" }) then
      return Replies.bad_argument("resume must come from an earlier reply")
    end
  else
    local job =
      redis.call("HMGET", keys.job .. id, "id", "state", "lifo", "priority", "timestamp", "groupKey", "x-py:cell")
    if not job[ID] and redis.call("EXISTS", keys.job .. id) == 0 then
      return Replies.pack("missing")
    end
    ranges, from_list = withdraw(keys, id, job)
    if not Schedulers.has_ended(job[STATE]) then
      local settlement = Settlement.open(keys, now, args)
      settlement:gone(id)
      settlement:close()
    end
    Retention.unlink(keys, { id })
    Events.emit(keys, "removed", id)
  end
  local entry_id, unsearched = Entries.search(keys, id, ranges, BUDGET)
  if entry_id then
    Ready.drop(keys, { entry_id })
  elseif #unsearched > 0 then
    return Replies.pack("ok", { unsearched, from_list })
  elseif from_list then
    count_one_less(keys)
  end
  return Replies.pack("ok", false)
end)
