-- JobStreams: the output of running jobs, P:jstream:<id>, chunk by chunk, while somebody may be reading it.
--
-- Its job's field x-py:chunks is "<ttl_ms> <last> <trimmed>": how long the stream is kept after the job's end, the id
-- of its last chunk once the job has ended, and that of the last one that was trimmed (0-0: none).
local JobStreams = {}

JobStreams.MARK = "x-py:chunks"

local KEPT_CHUNKS = 100000
local KEPT_MS = 86400000
local NONE = "0-0"

-- The length is looked at with every so many chunks of a writer. Trimming waits until a hundredth of the limit can
-- go, but takes at most so many entries at once: they are read, to learn the last one's id.
local LOOK_EVERY = 50
local TRIMMED_AT_ONCE = 200

-- {ttl, last, trimmed} of the field's text; of none when it is absent.
function JobStreams.parse(text)
  local ttl, last, trimmed = string.match(text or "", "^(%d+) (%d+%-%d+) (%d+%-%d+)$")
  return { ttl = tonumber(ttl) or KEPT_MS, last = last or NONE, trimmed = trimmed or NONE }
end

local function write(job, mark)
  redis.call("HSET", job, JobStreams.MARK, string.format("%.0f %s %s", mark.ttl, mark.last, mark.trimmed))
end

-- A writer begins. The stream of a job that had ended, and was tried again by hand, is kept from now on.
local function begin(job, key, ttl)
  local text = redis.call("HGET", job, JobStreams.MARK)
  local mark = JobStreams.parse(text)
  mark.ttl, mark.last = ttl or KEPT_MS, NONE
  if text then
    redis.call("PERSIST", key)
  end
  write(job, mark)
end

local function trim(job, key, limit)
  local held = redis.call("XLEN", key)
  if held <= limit + math.min(math.floor(limit / 100), TRIMMED_AT_ONCE / 2) then
    return
  end
  local doomed = redis.call("XRANGE", key, "-", "+", "COUNT", math.min(held - limit, TRIMMED_AT_ONCE))
  redis.call("XTRIM", key, "MAXLEN", "=", held - #doomed)
  local mark = JobStreams.parse(redis.call("HGET", job, JobStreams.MARK))
  mark.trimmed = doomed[#doomed][1]
  write(job, mark)
end

local function keep_until_expiry(job, key, last)
  local mark = JobStreams.parse(redis.call("HGET", job, JobStreams.MARK))
  mark.last = last
  write(job, mark)
  redis.call("PEXPIRE", key, mark.ttl)
end

-- What a caller that does not hold the job must know: a row code that refuses it, and whether the job has ended. A run
-- may say what it has left to say after its end; a caller that runs nothing (false) may always.
local function look(job, run)
  local values = redis.pcall("HMGET", job, "id", "state", Lease.RUN)
  if values.err or not values[1] then
    return Replies.GONE
  elseif run and values[3] ~= run and values[3] ~= Lease.spent(run) then
    return Replies.LEASE_LOST
  end
  return nil, values[2] == "completed" or values[2] == "failed"
end

-- Appends one chunk, the fields and values of `row` from `first` on; `number` counts its writer's chunks from 1. `limit`
-- and `ttl` are false for the defaults. Returns the entry's id, or a row code.
function JobStreams.append(keys, id, run, number, limit, ttl, row, first)
  local job, key = keys.job .. id, keys.jstream .. id
  local ended = false
  if not run or redis.pcall("HGET", job, Lease.RUN) ~= run then -- else the job is in the caller's hands
    local refusal
    refusal, ended = look(job, run)
    if refusal then
      return refusal
    end
  end
  if number == 1 then
    begin(job, key, ttl)
  end
  local last = redis.call("XADD", key, "*", unpack(row, first))
  limit = limit or KEPT_CHUNKS
  if number % LOOK_EVERY == 0 or number > limit then
    trim(job, key, limit)
  end
  if ended then
    keep_until_expiry(job, key, last)
  end
  return last
end

-- The job has ended: its stream goes after a while. `text` is its field, false when it never streamed.
function JobStreams.ended(keys, id, text)
  if text then
    local newest = redis.pcall("XREVRANGE", keys.jstream .. id, "+", "-", "COUNT", 1)
    keep_until_expiry(keys.job .. id, keys.jstream .. id, newest[1] and newest[1][1] or NONE)
  end
end

-- The same where the field was not read anyway.
function JobStreams.has_ended(keys, id)
  JobStreams.ended(keys, id, redis.call("HGET", keys.job .. id, JobStreams.MARK))
end
