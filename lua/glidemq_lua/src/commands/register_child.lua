-- register_child: a job that is about to be added will be a child of these. Before it exists, so that no parent is told
-- that all its children have ended while one is on its way.
-- Moves:  nothing
-- Keys:   job, deps
-- Args:   parents [id], member (the child's name)
-- Reply:  ["ok", the key of the budget that the first of them with one has, or false] | ["missing", id] | ["ended", id]; then nothing was registered
-- Errors: bad_argument
-- Events: none
Library.command("register_child", {}, { parents = "table", member = "string" }, function(keys, args)
  if not Keys.split_member(args.member) then
    return Replies.bad_argument("member must be the name of a job")
  end
  local budget_key = false
  for number, id in ipairs(args.parents) do
    if type(id) ~= "string" then
      return Replies.bad_argument("parent " .. number .. " must be an id")
    end
    local job = redis.call("HMGET", keys.job .. id, "id", "state", "budgetKey")
    if not job[1] then
      return Replies.pack("missing", id)
    elseif Schedulers.has_ended(job[2]) then
      return Replies.pack("ended", id)
    end
    budget_key = budget_key or job[3]
  end
  for _, id in ipairs(args.parents) do
    Dependencies.expect(keys, id, args.member)
  end
  return Replies.pack("ok", budget_key)
end)
