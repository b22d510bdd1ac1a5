-- get_children: the children of a parent as its own books have them, a page at a time.
-- Moves:  nothing
-- Keys:   deps, job
-- Args:   id, cursor ("0" at first)
-- Reply:  ["ok", [[member, done, failed, kept]], next cursor or "0"] | ["missing"]
--         done: it need not be waited for; failed: its reason or false; kept: whether the parent's field
--         `x-py:depvalue:<member>` holds what it returned. A member may come twice.
-- Errors: bad_argument
-- Events: none
local SPEC = { id = "string", cursor = "string" }

local PER_PAGE = 200

Library.command("get_children", { "no-writes" }, SPEC, function(keys, args)
  if not View.exists(keys, args.id) then
    return Replies.pack("missing")
  end
  local page = redis.call("SSCAN", keys.deps .. args.id, args.cursor, "COUNT", PER_PAGE)
  local children = {}
  for number, member in ipairs(page[2]) do
    children[number] = { member, Dependencies.about(keys, args.id, member) }
  end
  return Replies.pack("ok", children, page[1])
end)
