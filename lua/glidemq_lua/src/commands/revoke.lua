-- revoke: nobody wants this job's outcome any more. One that nobody runs fails at once; a running one is flagged, its
-- holder hears of it (get_revocations, extend_leases), and whatever that host reports, the run ends as revoked.
-- Moves:  waiting, delayed, prioritized, group-waiting, waiting-children, suspended -> failed
-- Keys:   job, stream, priority, lifo, scheduled, groupq, group, ratelimited, suspended, failed, events,
--         x-py:revocations
-- Args:   id, resume (from the last reply; absent at first), force_after_ms (absent: the run is not ended by force)
-- Reply:  ["revoked", resume or false] | ["flagged"] | ["not_found"]
--         A resume means: the job has failed, but its stream entry was not found among the likeliest; call again with
--         it to go on. `step` drops an entry left behind; a Node worker would report the job as failed once more.
--         A finished job is flagged, too: it stays as it is, and fails if it is retried.
-- Errors: bad_argument
-- Events: revoked
local SPEC = { id = "string", resume = "?table", force_after_ms = "?number" }

local ID, STATE, TIMESTAMP, DELAY, GROUP_KEY, REASON, REVOKED = 1, 2, 3, 4, 5, 6, 7

-- Takes the job out of the place that its state names. Returns the stream ranges where its entry may stand.
local function withdraw(keys, id, job)
  local state = job[STATE]
  if state == "suspended" then
    redis.call("ZREM", keys.suspended, id)
  elseif state == "group-waiting" and job[GROUP_KEY] then
    redis.call("ZREM", keys.groupq .. job[GROUP_KEY], id)
  elseif state == "waiting" then
    if not Withdrawal.from_lists(keys, id) then
      return Withdrawal.ranges(job[TIMESTAMP], job[DELAY])
    end
  elseif state ~= "waiting-children" then
    redis.call("ZREM", keys.scheduled, id)
  end
  return {}
end

local function revoke(keys, id, job, now)
  local settlement = Settlement.open(keys, now, {})
  local ranges = withdraw(keys, id, job)
  Ending.revoke(settlement, id)
  settlement:close()
  return ranges
end

Library.command("revoke", { "allow-oom" }, SPEC, function(keys, args, now)
  local force_ms = args.force_after_ms
  local fault = Withdrawal.fault(args.resume)
  if not fault and force_ms and not Delayed.fits(force_ms) then
    fault = "force_after_ms is out of range"
  end
  if fault then
    return Replies.bad_argument(fault)
  end
  local id = args.id
  local job = redis.call(
    "HMGET", keys.job .. id, "id", "state", "timestamp", "delay", "groupKey", "failedReason", "revoked"
  )
  local ranges = args.resume
  if not ranges then
    if not job[ID] then
      return Replies.pack("not_found")
    end
    if job[STATE] == "failed" and job[REVOKED] == "1" and job[REASON] == Ending.REVOKED then
      return Replies.pack("revoked", false)
    end
    redis.call("HSET", keys.job .. id, "revoked", "1")
    if not States.allows("revoke", job[STATE]) then
      if job[STATE] == "active" then
        Revocations.announce(keys, id, now)
        if force_ms then
          redis.call("HSET", keys.job .. id, Revocations.FORCE_AT, now + force_ms)
        end
      end
      Events.emit(keys, "revoked", id)
      return Replies.pack("flagged")
    end
    ranges = revoke(keys, id, job, now)
  elseif job[STATE] ~= "failed" then
    -- Retried meanwhile: an entry found now may be that of its next run.
    ranges = {}
  end
  local entry_id, unsearched = Entries.search(keys, id, ranges, Withdrawal.BUDGET)
  if entry_id then
    Ready.drop(keys, { entry_id })
  end
  return Replies.pack("revoked", #unsearched > 0 and unsearched)
end)
