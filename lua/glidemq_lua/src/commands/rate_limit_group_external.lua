-- rate_limit_group_external: somebody outside asks for a pause of a group. Its running jobs go on, no other starts.
-- Moves:  nothing
-- Keys:   ratelimited, group, groupq, events, bell
-- Args:   group_key, duration_ms, extend ("max" keeps a pause that goes further, "replace" does not), events
-- Reply:  ["ok", resume_at_ms]
-- Errors: bad_argument
-- Events: group-rate-limited {groupKey, duration, resumeAt}, without a job id
local SPEC = { group_key = "string", duration_ms = "number", extend = "string" }

local EXTEND = { max = true, replace = true }

Library.command("rate_limit_group_external", { "allow-oom" }, SPEC, function(keys, args, now)
  local key, duration_ms = args.group_key, args.duration_ms
  if key == "" then
    return Replies.bad_argument("group_key must not be empty")
  elseif duration_ms <= 0 or not Delayed.fits(duration_ms) then
    return Replies.bad_argument("duration_ms is out of range")
  elseif not EXTEND[args.extend] then
    return Replies.bad_argument("extend is unknown")
  end
  local settlement = Settlement.open(keys, now, args)
  local group = Group.of(settlement, key)
  local before = group.resume_at
  local resume_at = group:pause(duration_ms, args.extend)
  settlement:event("group-rate-limited", "", "groupKey", key, "duration", duration_ms, "resumeAt", resume_at)
  settlement:close()
  if before > resume_at then
    -- Whoever waits for the later time has to hear of this one.
    Ready.ring(keys)
  end
  return Replies.pack("ok", resume_at)
end)
