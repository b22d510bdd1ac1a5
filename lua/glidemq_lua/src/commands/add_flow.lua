-- add_flow: add jobs that belong together, under ids that reserve_ids gave, all of them or none.
-- Moves:  (new) -> waiting-children (a job with children), waiting, delayed, prioritized
-- Keys:   job, deps, parents, budget, stream, scheduled, lifo, events, bell, ordering, group, ratelimited, x-py:parents,
--         x-py:add
-- Args:   jobs as for enqueue, each with its id; extra may hold, besides ordering and cost: children [member],
--         parents [ids, queues, [member]] (see Adding), budget (the key of the flow's); max_waiting, idem,
--         budgets [[id of the flow's root, [field, value, ...]]] that are to be made
-- Reply:  ["ok"] | ["duplicate", id] (a job of this id exists: nothing was added)
-- Errors: bad_argument, cost_exceeds_capacity (with the number of the first row whose job could never start),
--         queue_full (with the number waiting and the maximum)
-- Events: added, in the order of the rows
local SPEC = { jobs = "table", max_waiting = "?number", idem = "?string", budgets = "?table" }

local REPLY_KEPT_MS = 60000

-- As Adding lists them.
local ROW = {
  "string", "string", "string", "number", "number", "number", "number", "number", "string", "?string", "?string",
  "?table",
}
local BUDGET = { "string", "table" }
local EXTRA = { ordering = true, cost = true, children = true, parents = true, budget = true }

local function fault_of_members(members, what)
  if type(members) ~= "table" or #members == 0 then
    return what .. " must be a list, and not empty"
  end
  for _, member in ipairs(members) do
    if type(member) ~= "string" or not Keys.split_member(member) then
      return what .. " must be names of jobs"
    end
  end
  return nil
end

local function fault_of_extra(row)
  local extra = row[12]
  for name in pairs(extra) do
    if not EXTRA[name] then
      return "unknown member " .. tostring(name) .. " of extra"
    end
  end
  if row[6] == 1 and extra.ordering then
    return "lifo and ordering cannot be used together"
  end
  local fault = extra.children and fault_of_members(extra.children, "children")
  if extra.parents and not fault then
    fault = Arguments.row_fault({ extra.parents }, { "string", "string", "table" })
      or fault_of_members(extra.parents[3], "parents")
  end
  return fault or Ordering.fault(extra)
end

local function fault_of(jobs)
  local fault = Arguments.row_fault(jobs, ROW)
  if fault then
    return fault
  end
  for number, row in ipairs(jobs) do
    fault = row[12] and fault_of_extra(row)
    if fault then
      return "row " .. number .. ": " .. fault
    end
  end
  return nil
end

-- What keeps the whole flow from being added, as a reply, or nil.
local function refusal_of(keys, jobs, max_waiting)
  if max_waiting then
    local waiting = Ready.waiting(keys) + Delayed.prioritized(keys)
    if waiting + #jobs > max_waiting then
      return Replies.pack("queue_full", waiting, max_waiting)
    end
  end
  local seen = {}
  for number, row in ipairs(jobs) do
    local id = row[9]
    if seen[id] or redis.call("EXISTS", keys.job .. id) == 1 then
      return Replies.pack("duplicate", id)
    elseif row[12] and Ordering.is_too_dear(row[12]) then
      return Replies.pack("cost_exceeds_capacity", number)
    end
    seen[id] = true
  end
  return nil
end

Library.command("add_flow", {}, SPEC, function(keys, args, now)
  local fault = fault_of(args.jobs) or args.budgets and Arguments.row_fault(args.budgets, BUDGET)
  if fault then
    return Replies.bad_argument(fault)
  end
  -- A repeated call whose first reply was lost gets that reply again.
  local remembered = args.idem and redis.call("GET", keys.add_reply .. args.idem)
  if remembered then
    return remembered
  end
  local refusal = refusal_of(keys, args.jobs, args.max_waiting)
  if refusal then
    return refusal
  end
  for _, row in ipairs(args.budgets or {}) do
    Budget.create(keys, row[1], row[2])
  end
  local ring = false
  for _, row in ipairs(args.jobs) do
    local _, _, rings = Adding.add(keys, row, now, nil, true)
    ring = ring or rings
  end
  if ring then
    Ready.ring(keys)
  end
  local reply = Replies.pack("ok")
  if args.idem then
    redis.call("SET", keys.add_reply .. args.idem, reply, "PX", REPLY_KEPT_MS)
  end
  return reply
end)
