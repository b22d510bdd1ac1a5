-- list_usage_queues: the queues of a prefix in which usage was ever reported, a page at a time.
-- Moves:  nothing
-- Keys:   <prefix>:usage:queues, the only key here that is declared as it is
-- Args:   cursor (from the last reply; absent at first)
-- Reply:  {"ok", [queue], cursor or false}; a queue may come twice
-- Errors: bad_argument
-- Events: none
local PAGE = 500

Library.command("list_usage_queues", { "no-writes" }, { cursor = "?string" }, function(keys, args)
  local reply = redis.call("SSCAN", keys.declared, args.cursor or "0", "COUNT", PAGE)
  return Replies.pack("ok", reply[2], reply[1] ~= "0" and reply[1])
end)
