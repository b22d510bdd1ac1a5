-- retry_job: run a failed job again, with all its attempts.
-- Moves:  failed -> delayed (due at once)
-- Keys:   job, failed, scheduled, bell
-- Args:   id
-- Reply:  ["ok"] | ["not_found"] | ["not_failed"]
-- Errors: bad_argument
-- Events: none
Library.command("retry_job", {}, { id = "string" }, function(keys, args, now)
  local id = args.id
  if not View.exists(keys, id) then
    return Replies.pack("not_found")
  elseif not ManualRetry.schedule(keys, id, now) then
    return Replies.pack("not_failed")
  end
  redis.call("ZREM", keys.failed, id)
  Ready.ring(keys)
  return Replies.pack("ok")
end)
