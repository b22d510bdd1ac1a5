-- trim_broadcast: keep the newest messages of a broadcast, exactly so many, and delete the others with everything that
-- belongs to them, in bounded rounds. Whoever has one of those in hand learns so from the code "gone" of its outcome.
-- Moves:  any -> (gone)
-- Keys:   stream, completed, failed, scheduled; jobs and their satellites, job:<id>:sub:<subscription>
-- Args:   max_messages
-- Reply:  ["more" or "done", messages deleted]
-- Errors: bad_argument
-- Events: none
--
-- A retry is an entry of its own. A message that a subscription has yet to try again keeps its hash until that entry
-- is trimmed, too.

local PER_ROUND = 500

local function unlink_deliveries(keys, id, names)
  for _, name in ipairs(names) do
    redis.call("UNLINK", Subscriptions.key(keys, id, name))
  end
end

Library.command("trim_broadcast", { "allow-oom" }, { max_messages = "number" }, function(keys, args)
  if args.max_messages < 1 then
    return Replies.bad_argument("max_messages must be above 0")
  end
  local surplus = redis.call("XLEN", keys.stream) - args.max_messages
  if surplus <= 0 then
    return Replies.pack("done", 0)
  end
  local names = Subscriptions.names(keys)
  local entries = redis.call("XRANGE", keys.stream, "-", "+", "COUNT", math.min(surplus, PER_ROUND))
  local entry_ids, doomed = {}, {}
  for number, entry in ipairs(entries) do
    entry_ids[number] = entry[1]
    local id = Ready.job_id(entry[2])
    local is_retry = #entry[2] > 4
    local state = id and redis.pcall("HGET", keys.job .. id, "state")
    if type(state) == "string" and not Subscriptions.has_retry(keys, id, names, not is_retry and state) then
      doomed[#doomed + 1] = id
      unlink_deliveries(keys, id, names)
    end
  end
  redis.call("XDEL", keys.stream, unpack(entry_ids))
  if #doomed > 0 then
    Retention.unlink(keys, doomed)
    redis.call("ZREM", keys.completed, unpack(doomed))
    redis.call("ZREM", keys.failed, unpack(doomed))
  end
  return Replies.pack(surplus > #entries and "more" or "done", #doomed)
end)
