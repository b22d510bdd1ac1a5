-- Groups: the gates of ordering keys, group concurrency and group rate limits.
local Groups = {}

-- The one place where every start asks: true lets the job start. A false result must have parked the job. Only the
-- jobs of producers that set an ordering key or a cost carry such fields; they start like plain ones so far, and
-- take none of the work ahead of free slots (see Intake).
function Groups.admit(_settlement, _id, _values)
  return true
end

-- A job will never start, so its turn must not be waited for: every gate steps over `skip:<seq>`, and the entry in
-- `ratelimited` makes the next look at parked groups wake this one.
function Groups.skip(keys, group_key, ordering_seq, now)
  local seq = tonumber(ordering_seq)
  if not group_key or not seq or seq < 1 then
    return
  end
  local group = keys.group .. group_key
  local next_seq = tonumber(redis.call("HGET", group, "nextSeq"))
  -- One before the next has started already.
  if next_seq and seq >= next_seq then
    redis.call("HSET", group, "skip:" .. ordering_seq, "1")
    if redis.call("EXISTS", keys.groupq .. group_key) == 1 then
      redis.call("ZADD", keys.ratelimited, now, group_key)
    end
  end
end
