-- Record: a job's hash as the commands need it - read for a start, and turned into the blob in which the job
-- travels to its processor.
local Record = {}

-- Needed to decide about a start, and the blob's fixed members.
local CORE = { "state", "id", "name", "data", "opts", "timestamp", "attemptsMade", "priority", "revoked", "expireAt" }
-- Passed on by name if present.
local EXTRAS = {
  "progress", "delay", "parentId", "parentQueue", "parentIds", "parentQueues", "groupKey", "orderingSeq", "cost",
  "schedulerName", "signals", "fallbackIndex", "budgetKey", "stalledCount", "failedReason", "x-py:crashes", "lifo",
}
