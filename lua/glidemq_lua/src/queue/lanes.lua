-- Lanes: where a job waits for a worker that goes on after a wait of its own, for children or for a signal: in the lane
-- of its priority, in the list of the newest first, or in the stream. glide-mq for Node puts all of them into the stream,
-- where an urgent job would have everything before it that has no priority; its workers find them here as well.
local Lanes = {}

-- Further fields of the hash follow.
function Lanes.enter(keys, id, name, ...)
  local fields = redis.call("HMGET", keys.job .. id, "priority", "lifo")
  local priority = tonumber(fields[1]) or 0
  if priority > 0 then
    States.enter(keys, id, "prioritized", ...)
    Delayed.add(keys, id, priority, 0)
    Ready.ring(keys)
    return
  end
  States.enter(keys, id, "waiting", ...)
  if fields[2] == "1" then
    redis.call("RPUSH", keys.lifo, id)
    Ready.ring(keys)
  else
    Ready.append(keys, id, name)
  end
end
