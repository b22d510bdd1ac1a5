-- tell_again: jobs of this queue that have ended tell a parent once more, since it still waits for them. For those whose
-- end nobody has told: a Node worker's, above all.
-- Moves:  as in hear_children, for parents in this queue
-- Keys:   job, x-py:outbox; those of hear_children for parents in this queue
-- Args:   rows [[id, what the parent's queue's keys start with, parent id]], events, metrics
-- Reply:  ["ok", [code], posted]; 1 told, 2 it has not ended, 3 there is no such job; posted as in hear_children
-- Errors: bad_argument
-- Events: active, failed
local ROW = { "string", "string", "string" }

Library.command("tell_again", { "allow-oom" }, { rows = "table" }, function(keys, args, now)
  local fault = Arguments.row_fault(args.rows, ROW)
  if fault then
    return Replies.bad_argument(fault)
  end
  local settlement = Settlement.open(keys, now, args)
  local codes = {}
  for number, row in ipairs(args.rows) do
    codes[number] = News.tell_again(settlement, row[1], row[2], row[3])
  end
  settlement:close()
  return Replies.pack("ok", codes, settlement.posted and 1 or 0)
end)
