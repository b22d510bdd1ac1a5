-- get_logs: lines of a job's log by position, one bounded page of the range at a time.
-- Moves:  nothing
-- Keys:   log
-- Args:   id, start, end (inclusive; negative counts from the end)
-- Reply:  {"ok", {line, ...}, number of lines in the log, next start or -1, end}
--         `end` is absolute in the reply: the next page asks for next start to that end.
-- Errors: bad_argument
-- Events: none
local SPEC = { id = "string", start = "number", ["end"] = "number" }

local PAGE_LINES = 1000
local PAGE_BYTES = 1048576
local CHUNK = 20 -- lines read at once; each may be 1 MiB long

Library.command("get_logs", { "no-writes" }, SPEC, function(keys, args)
  local key = keys.log .. args.id
  local count = redis.call("LLEN", key)
  local first = args.start < 0 and math.max(count + args.start, 0) or args.start
  local last = math.min(args["end"] < 0 and count + args["end"] or args["end"], count - 1)
  local lines, bytes = {}, 0
  while first <= last and #lines < PAGE_LINES and bytes < PAGE_BYTES do
    local chunk = redis.call("LRANGE", key, first, math.min(first + CHUNK - 1, last))
    for _, line in ipairs(chunk) do
      lines[#lines + 1] = line
      bytes = bytes + #line
    end
    first = first + #chunk
  end
  return Replies.pack("ok", lines, count, first <= last and first or -1, last)
end)
