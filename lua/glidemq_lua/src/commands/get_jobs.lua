-- get_jobs: the jobs of a state by position, one bounded page of the range at a time.
-- Moves:  nothing
-- Keys:   stream, priority, lifo, scheduled, completed, failed, suspended, x-py:parents, x-py:active:*, jobs
-- Args:   state, start, end (inclusive; negative counts from the end), exclude_data, resume (from the last reply)
-- Reply:  {"ok", {{field, value, ...}, ...}, resume or false} | {"unknown_state"}
--         A position whose job is gone is left out, so a page may be short or empty and yet not the last.
-- Errors: bad_argument
-- Events: none
local SPEC = {
  state = "string",
  start = "number",
  ["end"] = "number",
  exclude_data = "?boolean",
  resume = "?table",
}

-- Positions looked at per call: reading over a stream entry costs about 3 us.
local BUDGET = 1000

Library.command("get_jobs", { "no-writes" }, SPEC, function(keys, args)
  local segments = Listing.segments(keys, args.state)
  if not segments then
    return Replies.pack("unknown_state")
  end
  local walk = args.resume
  if walk then
    local fault = Arguments.row_fault({ walk }, { "number", "any", "number", "number" })
    if fault then
      return Replies.bad_argument("resume: " .. fault)
    end
  else
    walk = Walk.start(segments, args.start, args["end"])
  end
  local jobs, collect = View.page(keys, args.exclude_data)
  local rest = walk and Walk.advance(segments, walk, BUDGET, collect)
  return Replies.pack("ok", jobs, rest or false)
end)
