-- promote_job: a delayed job waits no longer.
-- Moves:  delayed -> waiting
-- Keys:   job, scheduled, stream, priority, lifo, events, bell
-- Args:   id
-- Reply:  ["ok"] | ["not_found"] | ["not_delayed"] | ["not_in_scheduled"]
-- Errors: bad_argument
-- Events: promoted
Library.command("promote_job", { "allow-oom" }, { id = "string" }, function(keys, args)
  local id = args.id
  local key = keys.job .. id
  local job = redis.call("HMGET", key, "id", "state", "name", "lifo", "priority")
  if not job[1] then
    return Replies.pack("not_found")
  elseif not States.allows("promote_by_hand", job[2]) then
    return Replies.pack("not_delayed")
  elseif redis.call("ZREM", keys.scheduled, id) == 0 then
    return Replies.pack("not_in_scheduled")
  end
  if Promotion.place(keys, id, tonumber(job[5]) or 0, job[3], job[4]) then
    Ready.ring(keys)
  end
  States.enter(keys, id, "waiting", "delay", "0")
  Events.emit(keys, "promoted", id)
  return Replies.pack("ok")
end)
