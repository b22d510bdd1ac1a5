-- retry_jobs: run failed jobs again, oldest failure first, in bounded rounds.
-- Moves:  failed -> delayed (due at once)
-- Keys:   failed, scheduled, jobs, events, bell
-- Args:   count (false: all), before (ms) and retried from the last reply; absent at first
-- Reply:  ["more", retried so far, before] | ["done", retried]
--         Only what had failed before the first round is retried, so that jobs which fail again do not go round.
-- Errors: bad_argument
-- Events: retried (the job id is the number of jobs), once
local SPEC = { count = "?number", before = "?number", retried = "?number" }

local PER_ROUND = 500

Library.command("retry_jobs", {}, SPEC, function(keys, args, now)
  local before, retried = args.before or now, args.retried or 0
  local wanted = args.count and math.min(args.count - retried, PER_ROUND) or PER_ROUND
  local ids = wanted > 0
    and redis.call("ZRANGE", keys.failed, "-inf", before, "BYSCORE", "LIMIT", 0, wanted)
    or {}
  if #ids > 0 then
    redis.call("ZREM", keys.failed, unpack(ids))
    for _, id in ipairs(ids) do
      -- An id without a failed job is a trace that something else has left.
      if ManualRetry.schedule(keys, id, now) then
        retried = retried + 1
      end
    end
    Ready.ring(keys)
    return Replies.pack("more", retried, before)
  end
  if retried > 0 then
    Events.emit(keys, "retried", retried)
  end
  return Replies.pack("done", retried)
end)
