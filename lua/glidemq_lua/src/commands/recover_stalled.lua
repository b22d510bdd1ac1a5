-- recover_stalled: take jobs from hosts that stopped renewing their leases. Live jobs are looked at, never touched.
-- Moves:  active -> waiting; active -> failed (stalled too often, or expired); delayed -> waiting (a budget has room again)
-- Keys:   stream, job, priority, lifo, list-active, failed, events, metrics, bell, x-py:active, x-py:cells; dedup,
--         x-py:dedup (entries of no use any more go with the first page); x-py:allowances, x-py:outbox, and those of
--         budgets (likewise: what ended elsewhere has nothing reserved any more)
-- Args:   consumer, cell, stalled_ms, lock_ms, max_stalled, limit, cursor ("" at first), not_after, events, metrics
--         not_after: a call that is executed after this server time judges nobody: it has waited for a server that
--         was away, as have the heartbeats of everybody. Its reply is empty but for the locks, and its now_ms says why.
-- Reply:  ["ok", now_ms, [[id, what]], next_cursor, shortest_live_lock_ms]
--         what: stalled, failed, expired, returned (delivered but never started: uncharged), dropped
--         next_cursor: "" when everything has been looked at; shortest lock: of the live jobs seen and of those that are known to
--         run with a lock of their own, -1 for none
-- Errors: bad_argument
-- Events: stalled, failed, expired, promoted

-- Cursors: "" or an entry id for the stream; "list:<offset>:<cell>" for the list-sourced jobs of a cell.
local FROM_LISTS = "list:"

local DEDUP_LOOKS = 500

local function note_live(found, lock_ms)
  if lock_ms and (found.shortest < 0 or lock_ms < found.shortest) then
    found.shortest = lock_ms
  end
end

local function stall_entry(settlement, back, args, entry_id, id, idle_ms, found)
  local keys = settlement.keys
  local verdict, values, lock_ms = Stall.judge(keys, id, settlement.now, idle_ms, args)
  if verdict == "alive" then
    note_live(found, lock_ms)
    return
  elseif verdict == "echo" then
    settlement:leave(id, entry_id)
    found.list[#found.list + 1] = { id, "dropped" }
    return
  end
  local job = { lifo = Stall.lifo(values), name = Stall.name(values) }
  local what = "returned"
  if verdict == "dead" then
    what = Stall.strike(settlement, id, values, args.max_stalled)
  end
  if what == "stalled" or what == "returned" then
    back:add(id, entry_id, Lease.taken(Stall.run(values)), job, what == "stalled")
  else
    settlement:leave(id, entry_id)
  end
  found.list[#found.list + 1] = { id, what }
end

-- Pending entries of all hosts, a page at a time; returns the last one of a full page.
local function from_stream(settlement, back, args, found)
  local keys = settlement.keys
  local after = args.cursor == "" and "-" or "(" .. args.cursor
  local idle_ms = Stall.look_after(args)
  local page = redis.pcall("XPENDING", keys.stream, Ready.GROUP, "IDLE", idle_ms, after, "+", args.limit)
  if page.err then
    return nil
  end
  for _, pending in ipairs(page) do
    local entry_id, owner = pending[1], pending[2]
    if owner ~= Ready.RETURNED then
      local entry = redis.call("XRANGE", keys.stream, entry_id, entry_id)[1]
      local id = entry and Ready.job_id(entry[2])
      if id then
        stall_entry(settlement, back, args, entry_id, id, pending[3], found)
      else
        settlement:leave(nil, entry_id)
      end
    end
  end
  return #page == args.limit and page[#page][1] or nil
end

local function stall_listed(settlement, back, args, cell, id, found)
  local verdict, values, lock_ms = Stall.judge(settlement.keys, id, settlement.now, nil, args)
  if verdict == "alive" then
    note_live(found, lock_ms)
    return true
  elseif verdict == "echo" then
    Active.forget(settlement.keys, cell, id)
    found.list[#found.list + 1] = { id, "dropped" }
    return false
  end
  local what = Stall.strike(settlement, id, values, args.max_stalled)
  if what == "stalled" then
    local job = { lifo = Stall.lifo(values), name = Stall.name(values), cell = cell }
    back:add(id, "", Lease.taken(Stall.run(values)), job, false)
  else
    settlement:leave(id, "", cell)
  end
  found.list[#found.list + 1] = { id, what }
  return false
end

-- List-sourced jobs of one cell after another; live ones are stepped over by the offset. Returns the next cursor and
-- the cell that is done with.
local function from_lists(settlement, back, args, cursor, found)
  local keys = settlement.keys
  local offset, cell = string.match(cursor, "^list:(%d+):(.*)$")
  offset = tonumber(offset) or 0
  if not cell or cell == "" then
    cell = redis.call("ZRANGE", keys.cells, 0, 0)[1]
  end
  if not cell then
    return ""
  end
  local oldest = settlement.now - Stall.look_after(args)
  local active = keys.active_of .. cell
  local ids = redis.call("ZRANGE", active, "-inf", oldest, "BYSCORE", "LIMIT", offset, args.limit)
  for _, id in ipairs(ids) do
    if stall_listed(settlement, back, args, cell, id, found) then
      offset = offset + 1
    end
  end
  if #ids == args.limit then
    return FROM_LISTS .. offset .. ":" .. cell
  end
  local following = redis.call("ZRANGE", keys.cells, "(" .. cell, "+", "BYLEX", "LIMIT", 0, 1)[1]
  return following and FROM_LISTS .. "0:" .. following or "", cell
end

local SPEC = {
  consumer = "string", cell = "string", stalled_ms = "number", lock_ms = "number", max_stalled = "number",
  limit = "number", cursor = "string", not_after = "?number",
}

Library.command("recover_stalled", { "allow-oom" }, SPEC, function(keys, args, now)
  if args.not_after and now > args.not_after then
    return Replies.pack("ok", now, {}, "", Lock.shortest(keys))
  end
  args.limit = math.max(1, math.min(args.limit, 1000))
  local settlement = Settlement.open(keys, now, args)
  local back = GivingBack.open(settlement)
  local found = { list = {}, shortest = -1 }
  local next_cursor, done_cell
  if args.cursor == "" then
    Deduplication.prune(keys, now, DEDUP_LOOKS)
    Allowance.look_around(settlement)
  end
  if string.sub(args.cursor, 1, #FROM_LISTS) == FROM_LISTS then
    next_cursor, done_cell = from_lists(settlement, back, args, args.cursor, found)
  else
    next_cursor = from_stream(settlement, back, args, found) or FROM_LISTS .. "0:"
    if next_cursor == FROM_LISTS .. "0:" and redis.call("EXISTS", keys.cells) == 0 then
      next_cursor = ""
    end
  end
  settlement:close()
  back:close()
  if done_cell then
    Active.forget_cell(keys, done_cell)
  end
  return Replies.pack("ok", now, found.list, next_cursor, Lock.shorter(found.shortest, Lock.shortest(keys)))
end)
