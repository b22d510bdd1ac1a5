-- recover_orphans: give back what this host owns on the server but not in its memory: activations whose reply was
-- lost, and entries that a reader claimed and never handed on.
-- Moves:  active -> waiting
-- Keys:   stream, job, priority, lifo, list-active, rate, x-py:active, bell
-- Args:   consumer, cell, known [[id, token]], cursor ("" at first), limit, limiter
-- Reply:  ["ok", [id], next_cursor]; "" when everything has been looked at
-- Errors: bad_argument
-- Events: none

local FROM_LISTS = "list:"

-- nil: leave the job alone; "back": it waits again; "drop": nothing of it is left to run.
local function verdict(keys, id, known)
  local values = redis.pcall(
    "HMGET", keys.job .. id, "state", Lease.RUN, "lifo", "name", "processedOn", "groupKey", "cost"
  )
  if values.err or not values[1] then
    return "drop"
  end
  if values[1] == "active" then
    if values[2] and known[values[2]] then
      return nil
    end
    return "back", values
  end
  return States.allows("reclaim", values[1]) and "back" or "drop", values
end

-- The processor of this activation has not started.
local function note_unstarted(settlement, unstarted, values)
  local activated_on = tonumber(values[5]) or 0
  unstarted[#unstarted + 1] = activated_on
  Turns.take_back_start(settlement, values[6], values[7], activated_on)
end

-- Pending entries of this consumer after an entry id. Returns the last one seen when there may be more.
local function from_stream(settlement, back, args, known, released, unstarted)
  local keys = settlement.keys
  local after = args.cursor == "" and "0" or args.cursor
  local entries = Ready.read_pending(keys, args.consumer, args.limit, after)
  for _, entry in ipairs(entries) do
    local entry_id, id = entry[1], Ready.job_id(entry[2])
    local what, values = "drop", nil
    if id then
      what, values = verdict(keys, id, known)
    end
    if what == "back" then
      back:add(id, entry_id, Lease.taken(values[2]), { lifo = values[3], name = values[4] }, false)
      released[#released + 1] = id
      if values[1] == "active" then
        note_unstarted(settlement, unstarted, values)
      end
    elseif what == "drop" then
      settlement:leave(id, entry_id)
    end
  end
  return #entries == args.limit and entries[#entries][1] or nil
end

-- Runs are compared by start time, then by their number within the step that started them.
local function started_before(a, b)
  if a.started ~= b.started then
    return a.started < b.started
  end
  return a.number < b.number
end

local function from_lists(settlement, back, args, known, released, unstarted, offset)
  local keys = settlement.keys
  local ids = redis.call("ZRANGE", keys.active_of .. args.cell, offset, offset + args.limit - 1)
  local lost = {}
  for _, id in ipairs(ids) do
    local what, values = verdict(keys, id, known)
    if what == "back" and values[1] == "active" then
      local number = tonumber(string.match(values[2] or "", "%.(%d+)$")) or 0
      lost[#lost + 1] = { id = id, values = values, started = tonumber(values[5]) or 0, number = number }
    elseif what then
      Active.forget(keys, args.cell, id)
    else
      offset = offset + 1
    end
  end
  table.sort(lost, started_before)
  for _, job in ipairs(lost) do
    local values = job.values
    back:add(job.id, "", Lease.taken(values[2]), { lifo = values[3], name = values[4], cell = args.cell }, false)
    released[#released + 1] = job.id
    note_unstarted(settlement, unstarted, values)
  end
  return #ids == args.limit and FROM_LISTS .. offset or ""
end

local SPEC = {
  consumer = "string", cell = "string", known = "table", cursor = "string", limit = "number", limiter = "?table",
}

Library.command("recover_orphans", { "allow-oom" }, SPEC, function(keys, args, now)
  local fault = Arguments.row_fault(args.known, { "string", "string" }) or Limits.fault(args.limiter)
  if fault then
    return Replies.bad_argument(fault)
  end
  args.limit = math.max(1, math.min(args.limit, 1000))
  local known = {}
  for _, pair in ipairs(args.known) do
    known[pair[2]] = true
  end
  local settlement = Settlement.open(keys, now, args)
  local back = GivingBack.open(settlement)
  local released, unstarted = {}, {}
  local next_cursor
  if string.sub(args.cursor, 1, #FROM_LISTS) == FROM_LISTS then
    local offset = tonumber(string.sub(args.cursor, #FROM_LISTS + 1)) or 0
    next_cursor = from_lists(settlement, back, args, known, released, unstarted, offset)
  else
    if args.cursor == "" then
      Ready.silence(keys, args.consumer)
    end
    next_cursor = from_stream(settlement, back, args, known, released, unstarted) or FROM_LISTS .. "0"
  end
  if Limits.rate(keys, args.limiter) then
    Rate.refund(keys, unstarted)
  end
  settlement:close()
  back:close()
  return Replies.pack("ok", released, next_cursor)
end)
