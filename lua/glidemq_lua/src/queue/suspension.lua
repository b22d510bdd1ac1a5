-- Suspension: jobs that wait for a signal, in `P:suspended` by the time until which they wait.
-- A signal that comes before the job waits is kept with the job, where no processor sees it, until the next wait takes
-- it up.
local Suspension = {}

Suspension.TIMED_OUT = "Suspend timeout exceeded"

-- The run that has waited, as the job's hash names it, for the next one to know whose continuation it is; empty for a
-- run that has left the job in another way.
Suspension.WAITED = "x-py:waited"

-- Signals kept for one job, and their bytes together.
local KEPT = 100
local KEPT_BYTES = 1048576
local EARLY = "x-py:signals"

-- The score of a job that waits for ever; it is that of glide-mq for Node.
local NO_DEADLINE = 9999999999999

local ENDED_AT_ONCE = 100

-- A signal as Node writes it, its members in the same order: `data` is the text of a JSON value, or empty.
local function encode(signal)
  return '{"name":' .. cjson.encode(signal.name) .. ',"data":' .. cjson.encode(signal.data)
    .. ',"receivedAt":' .. JsonText.whole(signal.receivedAt) .. "}"
end

function Suspension.signal(name, data, now)
  return { name = name, data = data, receivedAt = now }
end

-- The signals that came early.
local function early(job)
  local text = redis.call("HGET", job, EARLY)
  local ok, signals = pcall(cjson.decode, text or "[]")
  return ok and type(signals) == "table" and signals or {}, text and #text or 0
end

-- Keeps a signal for a job that does not wait yet. False: there is no room for it.
function Suspension.keep(keys, id, signal)
  local job = keys.job .. id
  local signals, bytes = early(job)
  if #signals >= KEPT or #signals > 0 and bytes + #signal.data > KEPT_BYTES then
    return false
  end
  signals[#signals + 1] = signal
  redis.call("HSET", job, EARLY, cjson.encode(signals))
  return true
end

-- The signals reach the job: it waits for a worker.
function Suspension.resume(settlement, id, name, signals)
  local keys = settlement.keys
  local list = keys.signals .. id
  for _, signal in ipairs(signals) do
    redis.call("RPUSH", list, encode(signal))
  end
  local all = table.concat(redis.call("LRANGE", list, 0, -1), ",")
  redis.call("ZREM", keys.suspended, id)
  Lanes.enter(keys, id, name, "signals", "[" .. all .. "]")
  settlement:event("resumed", id, "signal", signals[1].name)
end

-- The job goes on by a step of its own: what follows continues no wait. That it has run shows all the same.
function Suspension.passed(keys, id)
  redis.call("HSET", keys.job .. id, Suspension.WAITED, "")
end

-- A running job waits for a signal from now on, for `timeout_ms` at the most unless that is 0; `reason` may be false.
-- `run` takes the place of its holder's token. If signals came early, it goes on in the same call.
function Suspension.suspend(settlement, id, name, reason, timeout_ms, run)
  local keys, now = settlement.keys, settlement.now
  local job = keys.job .. id
  redis.call("HDEL", job, "suspendReason", "suspendTimeout") -- of an earlier wait
  local fields = { "suspendedAt", now, Lease.RUN, run, Suspension.WAITED, run }
  if reason and reason ~= "" then
    local size = #fields
    fields[size + 1], fields[size + 2] = "suspendReason", reason
  end
  if timeout_ms > 0 then
    local size = #fields
    fields[size + 1], fields[size + 2] = "suspendTimeout", timeout_ms
  end
  States.enter(keys, id, "suspended", unpack(fields))
  local deadline = timeout_ms > 0 and math.min(now + timeout_ms, NO_DEADLINE) or NO_DEADLINE
  redis.call("ZADD", keys.suspended, deadline, id)
  settlement.next_timeout = nil
  settlement:event("suspended", id)
  local signals = early(job)
  if #signals > 0 then
    redis.call("HDEL", job, EARLY)
    Suspension.resume(settlement, id, name, signals)
  end
end

-- Ends the jobs whose time is over, without a retry.
function Suspension.expire_due(settlement)
  local keys, now = settlement.keys, settlement.now
  if Suspension.next_due(settlement) < 0 or settlement.next_timeout > now then
    return
  end
  local ids = redis.call("ZRANGE", keys.suspended, "-inf", now, "BYSCORE", "LIMIT", 0, ENDED_AT_ONCE)
  redis.call("ZREM", keys.suspended, unpack(ids))
  settlement.next_timeout = nil
  for _, id in ipairs(ids) do
    local values = redis.pcall("HMGET", keys.job .. id, "state", "opts", "processedOn")
    if not values.err and States.allows("time_out", values[1]) then
      local policy = Retention.of_options(values[2], "removeOnFail")
      local started = Ending.started(now, values[3] or now)
      Ending.fail(settlement, id, Suspension.TIMED_OUT, false, policy, "processedOn", now, Ending.STARTED, started)
    end
  end
end

-- When the time of the next job is over, or -1.
function Suspension.next_due(settlement)
  if not settlement.next_timeout then
    local first = redis.call("ZRANGE", settlement.keys.suspended, 0, 0, "WITHSCORES")
    local deadline = tonumber(first[2])
    settlement.next_timeout = deadline and deadline < NO_DEADLINE and deadline or -1
  end
  return settlement.next_timeout
end
