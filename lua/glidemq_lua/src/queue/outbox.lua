-- Outbox: what has happened in this queue and must be heard in another one, which may be another slot of a cluster.
-- It is written by the very call that makes it happen. Whoever serves the queue carries it over and takes it out
-- afterwards, perhaps twice: hearing something again must change nothing.
local Outbox = {}

-- `kind` says who has to hear it, `to` is what that queue's keys start with, `body` is a packed row for its command.
function Outbox.post(settlement, kind, to, body)
  redis.call("XADD", settlement.keys.outbox, "*", "kind", kind, "to", to, "body", body)
  settlement.posted = true
end
