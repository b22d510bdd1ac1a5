-- Events: the queue's log, a stream of about a thousand entries that QueueEvents and waiting callers read.
local Events = {}

local KEPT = 1000

-- Extra fields follow in the order given. Trimming with every entry costs nothing that could be measured: the server
-- only acts when a whole node of the stream can go.
function Events.emit(keys, event, id, ...)
  redis.call("XADD", keys.events, "MAXLEN", "~", KEPT, "*", "event", event, "jobId", id, ...)
end
