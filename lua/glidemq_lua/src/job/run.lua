-- Run: what its holder reports of a running job.
local Run = {}

-- The row (id, token, processed_on, entry_id, …) ends a run by this transition: it leaves whoever held it. Returns the
-- values of the further fields, from FIRST on; or nil and the row's code, if the caller does not hold the lease, or if
-- the job was revoked and has failed by that.
Run.FIRST = 6

function Run.leave(settlement, transition, row, ...)
  local id, token, processed_on, entry_id = row[1], row[2], row[3], row[4]
  local job = settlement.keys.job .. id
  local values = redis.pcall("HMGET", job, "state", Lease.RUN, "processedOn", "x-py:cell", "revoked", ...)
  local refusal = values.err and Replies.GONE
    or Lease.refusal(transition, values[1], values[2], values[3], token, processed_on)
  if refusal then
    if refusal == Replies.GONE then
      settlement:leave(id, entry_id)
    end
    return nil, refusal
  end
  settlement:leave(id, entry_id, values[4])
  if values[5] == "1" then
    local policy = Retention.of_options(redis.call("HGET", job, "opts"), "removeOnFail")
    Ending.revoke_run(settlement, id, token, processed_on, policy)
    return nil, Replies.FAILED
  end
  return values
end
