-- check_parents: the parents that have waited for a while, so that somebody looks whether their children still live. Each
-- is named to one caller at a time, and then again later.
-- Moves:  nothing
-- Keys:   x-py:parents, job
-- Args:   limit
-- Reply:  ["ok", [id]]
-- Errors: bad_argument
-- Events: none
local MOST = 100

Library.command("check_parents", { "allow-oom" }, { limit = "number" }, function(keys, args, now)
  return Replies.pack("ok", Dependencies.due_looks(keys, now, math.max(math.min(args.limit, MOST), 1)))
end)
