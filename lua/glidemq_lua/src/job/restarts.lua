-- Restarts: runs of a job that ended early, are not charged for, and are followed by one that starts from the top. With
-- attemptsMade, stalledCount and x-py:crashes they number a job's runs, so that readers of its stream can tell them
-- apart. A run that its processor has left to go on later (suspend, a step, children) is not counted.
local Restarts = {}

Restarts.FIELD = "x-py:restarts"

function Restarts.count(keys, id, runs)
  redis.call("HINCRBY", keys.job .. id, Restarts.FIELD, runs or 1)
end
