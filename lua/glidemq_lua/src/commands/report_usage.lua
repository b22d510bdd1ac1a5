-- report_usage: take down what a job's calls to models have used, on the job and in the bucket of this minute.
-- Moves:  nothing
-- Keys:   job, job:<id>:usage-lock, usage:<minute>, events; budget, x-py:outbox
-- Args:   id, token (of the run that reports; absent: whoever ran the job last), usage {model, provider, costUnit,
--         cached, latencyMs, totalTokens, totalCost}, tokens and costs {category: number}, events
-- Reply:  {"ok", the job's usage from now on (JSON), 1 if the bucket is new, else 0} | {"missing"} | {"lease_lost"}
--         | {"busy"}: a Node client is writing the same fields
-- Errors: bad_argument
-- Events: usage {data}
local SPEC = {
  id = "string", token = "?string", usage = "table", tokens = "table", costs = "table", events = "boolean",
}
local USAGE = {
  model = "?string", provider = "?string", costUnit = "?string", cached = "?boolean", latencyMs = "?number",
  totalTokens = "?number", totalCost = "?number",
}

local function numbers_fault(values, name)
  for category, value in pairs(values) do
    if type(category) ~= "string" or type(value) ~= "number" or value < 0 or value ~= value then
      return name .. " must map texts to numbers of at least 0"
    end
  end
  return nil
end

Library.command("report_usage", { "allow-oom" }, SPEC, function(keys, args, now)
  local fault = Arguments.fault(args.usage, Arguments.checks(USAGE))
    or numbers_fault(args.tokens, "tokens")
    or numbers_fault(args.costs, "costs")
  if fault then
    return Replies.bad_argument(fault)
  end
  local id = args.id
  local values = redis.pcall("HMGET", keys.job .. id, "id", Lease.RUN, Usage.SHARE, "budgetKey", unpack(Usage.FIELDS))
  if values.err or not values[1] then
    return Replies.pack("missing")
  elseif redis.call("EXISTS", keys.job .. id .. ":usage-lock") == 1 then
    return Replies.pack("busy")
  end
  local run = Lease.bare(values[2])
  if args.token and args.token ~= run then
    return Replies.pack("lease_lost")
  end
  local part = args.usage
  part.tokens, part.costs = args.tokens, args.costs
  local stored = { unpack(values, 5, 4 + #Usage.FIELDS) }
  local minute = now - now % UsageBuckets.MINUTE
  local usage, is_new = Usage.report(keys, id, run, part, stored, values[3], minute)
  local text = Usage.json(usage)
  if values[4] then
    Allowance.used(Settlement.open(keys, now, args), id, values[4])
  end
  if args.events then
    Events.emit(keys, "usage", id, "data", text)
  end
  return Replies.pack("ok", text, is_new and 1 or 0)
end)
