-- get_counts: how many jobs are in each state that can be counted without walking over them.
-- Moves:  nothing
-- Keys:   stream, priority, lifo, list-active, scheduled, completed, failed, suspended
-- Args:   none
-- Reply:  {"ok", {state = number}}
--         waiting, active, delayed, completed and failed are counted as glide-mq for Node does, so "delayed"
--         includes the prioritized jobs, which "prioritized" also shows alone. Entries given back to `py-returned`
--         wait although they are pending. group-waiting and waiting-children have no index and are absent.
-- Errors: bad_argument
-- Events: none
Library.command("get_counts", { "no-writes" }, {}, function(keys)
  local pending, returned = Ready.pending(keys)
  local from_lists = math.max(tonumber(redis.call("GET", keys.list_active)) or 0, 0)
  return Replies.pack("ok", {
    waiting = math.max(Ready.waiting(keys), 0),
    active = pending - returned + from_lists,
    delayed = redis.call("ZCARD", keys.scheduled),
    prioritized = Listing.count_prioritized(keys),
    completed = redis.call("ZCARD", keys.completed),
    failed = redis.call("ZCARD", keys.failed),
    suspended = redis.call("ZCARD", keys.suspended),
  })
end)
