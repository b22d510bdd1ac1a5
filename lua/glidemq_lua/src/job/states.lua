-- States: the states of a job, and the one table of what may happen to a job in which of them.
--
--                  promote           start             complete
--   delayed     ------------>       ------->        --------------> completed
--   prioritized ------------> waiting      active   --------------> failed, or delayed for a retry
--   (failed)    ------------>   ^   <-------   ^      fail
--                               |   release,   '-- renew
--   waiting-children -----------'   stall,
--                      wake         reclaim
--
-- A job that is waiting, parked, delayed, prioritized or stalled past its time fails as expired; a waiting one that is
-- revoked or malformed fails instead of starting. One of a group that may not start yet is parked (group-waiting) and
-- waits again when its group lets it; a running one that pauses its group is parked as well. A running job that is
-- suspended becomes waiting by a signal, or fails when its time is over. A running job may become a parent that waits
-- for its children (waiting-children); it fails when a child does whose failure concerns it.
-- What wakes, or is signalled, is prioritized if it has a priority.
local States = {}

-- From which states; where a job goes is told by the picture.
local LEGAL = {
  start = { waiting = true },
  renew = { active = true },
  complete = { active = true },
  fail = { active = true },
  release = { active = true },
  stall = { active = true },
  -- Orphans: a start whose reply was lost, and a delivery that nobody started.
  reclaim = { active = true, waiting = true },
  -- Node's manual retry of a failed job writes the sorted set before the state.
  promote = { delayed = true, prioritized = true, failed = true },
  wake = { ["waiting-children"] = true },
  fail_by_child = { ["waiting-children"] = true },
  move_to_waiting_children = { active = true },
  unpark = { ["group-waiting"] = true },
  -- A running job is only flagged: its run ends as revoked, whatever it reports. So is a finished one, for a retry.
  revoke = {
    waiting = true,
    delayed = true,
    prioritized = true,
    ["group-waiting"] = true,
    ["waiting-children"] = true,
    suspended = true,
  },
  promote_by_hand = { delayed = true },
  reschedule = { waiting = true, delayed = true, prioritized = true },
  retry_by_hand = { failed = true },
  move_to_delayed = { active = true },
  rate_limit_group = { active = true },
  suspend = { active = true },
  signal = { suspended = true },
  time_out = { suspended = true },
}

function States.allows(transition, state)
  return LEGAL[transition][state] == true
end

-- What this call has changed about a job may have to be told elsewhere, once the call is over (see Library.command).
function States.changed(keys, id)
  local changed = keys.changed
  changed[#changed + 1] = id
end

-- The only way into a state. Further fields of the hash follow; a job that comes into being gets its first state with
-- the others.
function States.enter(keys, id, state, ...)
  redis.call("HSET", keys.job .. id, "state", state, ...)
  States.changed(keys, id)
end
