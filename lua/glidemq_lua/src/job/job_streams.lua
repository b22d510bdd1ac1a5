-- JobStreams: the output of running jobs, P:jstream:<id>, chunk by chunk, while somebody may be reading it.
--
-- Its job's field x-py:chunks is "<ttl_ms> <last> <trimmed>": how long the stream is kept after the job's end, the id
-- of its last chunk once the job has ended, and that of the last one that was trimmed (0-0: none).
local JobStreams = {}

JobStreams.MARK = "x-py:chunks"

local KEPT_CHUNKS = 100000
local KEPT_MS = 86400000
local LINGERS_MS = 60000
local NONE = "0-0"

-- The length is looked at with every so many chunks of a writer. Trimming waits until a hundredth of the limit can
-- go, but takes at most so many entries at once: they are read, to learn the last one's id.
local LOOK_EVERY = 50
local TRIMMED_AT_ONCE = 200

local ERA_MS = 86400000

-- {ttl, last, trimmed} of the field's text; of none when it is absent.
function JobStreams.parse(text)
  local ttl, last, trimmed = string.match(text or "", "^(%d+) (%d+%-%d+) (%d+%-%d+)$")
  return { ttl = tonumber(ttl) or KEPT_MS, last = last or NONE, trimmed = trimmed or NONE }
end

local function write(job, mark)
  redis.call("HSET", job, JobStreams.MARK, string.format("%.0f %s %s", mark.ttl, mark.last, mark.trimmed))
end

-- The present era: within one, no job that streams changes its state, and no stream begins. A run that was found to hold
-- its job holds it until its era is over.
local function era_of(keys)
  return tonumber(redis.call("GET", keys.streaming)) or 0
end

-- Eras follow the clock, so that a server that has forgotten some, by a fail-over, counts none of them again.
local function begin_era(keys, now)
  local era = math.max(era_of(keys) + 1, now * 1000)
  redis.call("SET", keys.streaming, string.format("%.0f", era), "PX", ERA_MS)
end

-- Whether any job of the queue has put out anything lately.
function JobStreams.are_written(keys)
  return era_of(keys) ~= 0
end

-- At the end of a call that has changed jobs: those that stream, and their runs, must be looked at again.
local function follow(keys, now)
  if era_of(keys) == 0 then -- nobody streams
    return
  end
  for _, id in ipairs(keys.changed) do
    if redis.call("EXISTS", keys.jstream .. id) == 1 then -- one that ends with the job may outlast it
      begin_era(keys, now)
      return
    end
  end
end

local after_changes = Library.after_changes
Library.after_changes = function(keys, now)
  after_changes(keys, now)
  follow(keys, now)
end

-- Whether a stream without the field of its job is what a removed job of the same id has left behind.
function JobStreams.is_left_behind(keys, id, text)
  return not text and redis.call("PTTL", keys.jstream .. id) >= 0
end

-- A writer begins. The stream of a job that had ended, and was tried again by hand, is kept from now on. A run of a
-- removed job whose id was given again must not write into it.
local function begin(keys, id, job, key, ttl, now)
  begin_era(keys, now)
  local text = redis.call("HGET", job, JobStreams.MARK)
  local mark = JobStreams.parse(text)
  mark.ttl, mark.last = ttl or KEPT_MS, NONE
  if text then
    redis.call("PERSIST", key)
  elseif JobStreams.is_left_behind(keys, id, text) then
    redis.call("UNLINK", key)
  end
  write(job, mark)
end

local function trim(job, key, number, limit)
  if number % LOOK_EVERY ~= 0 and number <= limit then
    return
  end
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

local function check(chunks)
  local at, size = 1, #chunks
  while at <= size do
    local count = chunks[at + 2]
    if type(count) == "table" then
      count = count[1]
    end
    assert(#chunks[at] > 0 and count >= 2)
    at = at + 3 + count
  end
  return at == size + 1
end

-- Whether a list is one of chunks.
function JobStreams.are_chunks(chunks)
  local ok, complete = pcall(check, chunks)
  return ok and complete
end

-- The entry's id, or a row code, then whether its run holds the job.
local function append_with_care(keys, now, id, run, care, ...)
  local job, key = keys.job .. id, keys.jstream .. id
  local held, ended = run and redis.pcall("HGET", job, Lease.RUN) == run, false
  if not held then
    local refusal
    refusal, ended = look(job, run)
    if refusal then
      return refusal, false
    end
  end
  local number, limit, ttl
  if type(care) == "table" then
    number, limit, ttl = care[2], care[3], care[4]
  end
  if number == 1 then
    begin(keys, id, job, key, ttl, now)
  end
  local last = redis.call("XADD", key, "*", ...)
  if number then
    trim(job, key, number, limit or KEPT_CHUNKS)
  end
  if ended then
    keep_until_expiry(job, key, last)
  end
  return last, held
end

-- Appends chunks that stand one after the other as id, run, care, field, value, field, value, ...
--
-- run: false for a caller that does not run the job. care: {count, number, limit, ttl_ms}, count of the fields and values
-- that follow, number of the writer's chunks of the job, from 1 on, limit and ttl_ms false for the defaults; or the count
-- alone, if there is nothing to begin or to trim and the run was found to hold the job in the era that the caller knows.
-- Then it holds it still, unless that era is over.
--
-- Returns the entries' ids, a row code in place of an id, and the present era, or 0 if not every run holds its job.
function JobStreams.append(keys, chunks, known_era, now)
  local call, unpack, jstream = redis.call, unpack, keys.jstream -- locals are found sooner
  local trusted = known_era > 0 and known_era == era_of(keys)
  local ids, all_held, at, size = {}, true, 1, #chunks
  while at <= size do
    local id, care = chunks[at], chunks[at + 2]
    local count, last, held = 2, nil, nil
    if trusted and care == 2 then -- the second branch would do the same, later
      last = call("XADD", jstream .. id, "NOMKSTREAM", "*", chunks[at + 3], chunks[at + 4])
    elseif type(care) == "table" then
      count = care[1]
    else
      count = care
      if trusted then
        last = call("XADD", jstream .. id, "NOMKSTREAM", "*", unpack(chunks, at + 3, at + 2 + count))
      end
    end
    if not last then -- for one, because the job was removed with its stream
      last, held = append_with_care(keys, now, id, chunks[at + 1], care, unpack(chunks, at + 3, at + 2 + count))
      all_held, trusted = all_held and held, trusted and known_era == era_of(keys)
    end
    ids[#ids + 1] = last
    at = at + 3 + count
  end
  if not all_held then
    return ids, 0
  elseif era_of(keys) == 0 then
    begin_era(keys, now) -- it was forgotten
  end
  return ids, era_of(keys)
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

-- The job is about to be deleted, as it has ended: its stream stays for a moment. False if it has none.
function JobStreams.linger(keys, id)
  local key = keys.jstream .. id
  return redis.call("PEXPIRE", key, LINGERS_MS, "LT") == 1 or redis.call("EXISTS", key) == 1
end
