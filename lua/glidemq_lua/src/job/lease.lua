-- Lease: who may decide a job's outcome. Each activation mints a token, the job's `x-py:run`; a Node worker that
-- starts the job again leaves the token but changes `processedOn`, so both must match.
local Lease = {}

Lease.RUN = "x-py:run"

-- A spent token still identifies its last holder, whose repeated call then gets "already".
function Lease.spent(token)
  return "-" .. token
end

-- What stands in place of a run that was taken from its holder, which then gets "lease lost". A spent or taken one
-- holds nothing and stays.
function Lease.taken(run)
  if not run then
    return "~"
  end
  local mark = string.sub(run, 1, 1)
  return (mark == "-" or mark == "~") and run or "~" .. run
end

-- The token itself, of whatever became of it; "" when there was no run.
function Lease.bare(run)
  return string.match(run or "", "^[-~]?(.*)$")
end

local function is_spent(token)
  return string.sub(token, 1, 1) == "-"
end

-- nil when (state, run, processedOn) of the hash show that the caller holds the lease, else a row code.
-- A row under a spent token says itself that its run was settled before, whatever has become of the job since.
function Lease.refusal(transition, state, run, processed_on_stored, token, processed_on)
  if not state and not run then
    return Replies.GONE
  elseif run == Lease.spent(token) or is_spent(token) then
    return Replies.ALREADY
  elseif run == token and States.allows(transition, state) and tonumber(processed_on_stored) == processed_on then
    return nil
  end
  return Replies.LEASE_LOST
end
