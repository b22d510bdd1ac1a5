-- Run: what its holder reports of a running job, in rows (id, token, processed_on, entry_id, …).
local Run = {}

-- Where the values of Run.read stand.
Run.CELL, Run.REVOKED, Run.FIRST = 4, 5, 6

-- Reads what a row is judged by, and the further fields, from FIRST on. Returns them, and the row's code if the caller
-- does not hold the lease: nothing is to be changed then.
function Run.read(settlement, transition, row, ...)
  local id, token, processed_on, entry_id = row[1], row[2], row[3], row[4]
  local values =
    redis.pcall("HMGET", settlement.keys.job .. id, "state", Lease.RUN, "processedOn", "x-py:cell", "revoked", ...)
  local refusal = values.err and Replies.GONE
    or Lease.refusal(transition, values[1], values[2], values[3], token, processed_on)
  if refusal == Replies.GONE then
    settlement:leave(id, entry_id)
  end
  return values, refusal
end

-- A run of a revoked job ends, whatever it reports; the job's options say what to retain of it.
function Run.revoke(settlement, row)
  local policy = Retention.of_options(redis.call("HGET", settlement.keys.job .. row[1], "opts"), "removeOnFail")
  Ending.revoke_run(settlement, row[1], row[2], row[3], policy)
end

-- The row ends a run by this transition: it leaves whoever held it. Returns the values; or nil and the row's code, if
-- the caller does not hold the lease, or if the job was revoked and has failed by that.
function Run.leave(settlement, transition, row, ...)
  local values, refusal = Run.read(settlement, transition, row, ...)
  if refusal then
    return nil, refusal
  end
  settlement:leave(row[1], row[4], values[Run.CELL])
  if values[Run.REVOKED] == "1" then
    Run.revoke(settlement, row)
    return nil, Replies.FAILED
  end
  return values
end

-- The codes that `settle(settlement, row)` gives for the rows of a call, and the settlement, closed.
function Run.settle_all(keys, args, now, settle)
  local settlement = Settlement.open(keys, now, args)
  local outcomes = {}
  for number, row in ipairs(args.rows) do
    outcomes[number] = settle(settlement, row)
  end
  settlement:close()
  return outcomes, settlement
end
