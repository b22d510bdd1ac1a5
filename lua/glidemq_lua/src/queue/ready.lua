-- Ready: the jobs that may start now - the stream with its consumer group, and the two lists.
-- Both lists are popped from the right. A job given back must not move to the tail: a stream entry is handed to the
-- pseudo-consumer `py-returned`, whose pending entries are read before new ones; a list job is pushed on the right.
local Ready = {}

Ready.GROUP = "workers"
Ready.RETURNED = "py-returned"

local BELL_KEPT = 16
local CHUNK = 5000

-- Creates stream and group where a flush or an obliteration removed them. Start id 0: a backlog is delivered.
function Ready.ensure_group(keys)
  redis.pcall("XGROUP", "CREATE", keys.stream, Ready.GROUP, "0", "MKSTREAM")
end

local function is_error(reply)
  return type(reply) == "table" and reply.err ~= nil
end

local function read(keys, consumer, count, from)
  local reply =
    redis.pcall("XREADGROUP", "GROUP", Ready.GROUP, consumer, "COUNT", count, "STREAMS", keys.stream, from)
  if is_error(reply) then
    if string.find(reply.err, "NOGROUP", 1, true) then
      Ready.ensure_group(keys)
    end
    return {}
  end
  return reply and reply[1] and reply[1][2] or {}
end

-- Up to `count` undelivered entries, now pending for `consumer`: {{entry_id, {field, value, ...}}, ...}
function Ready.read_new(keys, consumer, count)
  return read(keys, consumer, count, ">")
end

-- Pending entries of `consumer` after an entry id, oldest first; the fields of a deleted entry are false.
function Ready.read_pending(keys, consumer, count, after)
  return read(keys, consumer, count, after)
end

-- The job id in an entry's fields, or nil if there is none.
function Ready.job_id(fields)
  if not fields then
    return nil
  end
  if fields[1] == "jobId" then
    return fields[2]
  end
  for index = 3, #fields, 2 do
    if fields[index] == "jobId" then
      return fields[index + 1]
    end
  end
  return nil
end

function Ready.append(keys, id, name)
  redis.call("XADD", keys.stream, "*", "jobId", id, "name", name or "")
end

-- Entries leave the stream for good. Both commands accept ids that are gone already.
function Ready.drop(keys, entry_ids)
  for first = 1, #entry_ids, CHUNK do
    local last = math.min(first + CHUNK - 1, #entry_ids)
    redis.pcall("XACK", keys.stream, Ready.GROUP, unpack(entry_ids, first, last))
    redis.pcall("XDEL", keys.stream, unpack(entry_ids, first, last))
  end
end

-- Moves pending entries to a consumer without counting a delivery. Entries that are no longer pending stay so.
-- Returns the ids that were moved.
function Ready.claim(keys, consumer, entry_ids)
  local moved = {}
  for first = 1, #entry_ids, CHUNK do
    local command = { "XCLAIM", keys.stream, Ready.GROUP, consumer, 0 }
    for index = first, math.min(first + CHUNK - 1, #entry_ids) do
      command[#command + 1] = entry_ids[index]
    end
    command[#command + 1] = "JUSTID"
    local reply = redis.pcall(unpack(command))
    if not is_error(reply) then
      for index = 1, #reply do
        moved[#moved + 1] = reply[index]
      end
    end
  end
  return moved
end

function Ready.give_back(keys, entry_ids)
  if #entry_ids > 0 then
    Ready.claim(keys, Ready.RETURNED, entry_ids)
  end
end

-- Puts list jobs back so that the first of `ids` is popped first.
function Ready.push_back(keys, list, ids)
  for index = #ids, 1, -1 do
    redis.call("RPUSH", list, ids[index])
  end
end

-- The list a job belongs to when it is neither FIFO nor scheduled.
function Ready.list_of(keys, lifo)
  return lifo == "1" and keys.lifo or keys.priority
end

-- Wakes one reader that is blocked on the stream although a list or an earlier due time was written.
function Ready.ring(keys)
  redis.call("XADD", keys.bell, "MAXLEN", BELL_KEPT, "*", "r", "1")
end

-- Rings are spent once their reader asks for work.
function Ready.answer(keys, ring_ids)
  if #ring_ids > 0 then
    redis.pcall("XACK", keys.bell, Ready.GROUP, unpack(ring_ids))
    redis.pcall("XDEL", keys.bell, unpack(ring_ids))
  end
end

-- Forgetting a consumer forgets the rings that it heard and never answered.
function Ready.silence(keys, consumer)
  redis.pcall("XGROUP", "DELCONSUMER", keys.bell, Ready.GROUP, consumer)
end

-- Pending entries per consumer: the total, and the share of `py-returned`, which is not in anybody's hands.
function Ready.pending(keys)
  local summary = redis.pcall("XPENDING", keys.stream, Ready.GROUP)
  if is_error(summary) then
    return 0, 0
  end
  local returned = 0
  for _, consumer in ipairs(summary[4] or {}) do
    if consumer[1] == Ready.RETURNED then
      returned = tonumber(consumer[2])
    end
  end
  return summary[1], returned
end

-- The consumer for which an entry is pending, or nil.
function Ready.holder(keys, entry_id)
  local pending = redis.pcall("XPENDING", keys.stream, Ready.GROUP, entry_id, entry_id, 1)
  return not is_error(pending) and pending[1] and pending[1][2] or nil
end

-- Jobs that wait to be started; the entries of `py-returned` are pending, yet wait.
function Ready.waiting(keys)
  local pending, returned = Ready.pending(keys)
  return redis.call("XLEN", keys.stream) - pending + returned
    + redis.call("LLEN", keys.lifo) + redis.call("LLEN", keys.priority)
end
