-- list_schedulers: the schedulers of the queue, a page per call, in no order.
-- Moves:  nothing
-- Keys:   schedulers
-- Args:   cursor ("" at first)
-- Reply:  ["ok", [name, entry (JSON text), ...], next cursor]; "" at the end. A name may come twice.
-- Errors: bad_argument
-- Events: none

-- A template may be as long as a job's data: a page of the longest ones must stay bearable.
local PAGE = 50

Library.command("list_schedulers", { "no-writes" }, { cursor = "string" }, function(keys, args)
  local cursor = args.cursor ~= "" and args.cursor or "0"
  local reply = redis.call("HSCAN", keys.schedulers, cursor, "COUNT", PAGE)
  return Replies.pack("ok", reply[2], reply[1] ~= "0" and reply[1] or "")
end)
