-- Limits: what the queue's settings allow - pause, and the number of jobs that may be in hand at once.
local Limits = {}

-- paused (boolean), global concurrency (number, or nil when unlimited)
function Limits.read(keys)
  local meta = redis.call("HMGET", keys.meta, "paused", "globalConcurrency")
  local concurrency = tonumber(meta[2])
  if concurrency and concurrency <= 0 then
    concurrency = nil
  end
  return meta[1] == "1", concurrency
end

-- Free places under a global concurrency: pending stream entries and list-sourced active jobs are in hand, entries
-- given back are not. `unstarted` pending entries belong to the caller and are about to be decided on.
function Limits.free(keys, concurrency, unstarted)
  local pending, returned = Ready.pending(keys)
  local from_lists = math.max(tonumber(redis.call("GET", keys.list_active)) or 0, 0)
  return math.max(concurrency - (pending - returned - unstarted) - from_lists, 0)
end
