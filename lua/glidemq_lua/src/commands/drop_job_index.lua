-- drop_job_index: forget a search index; the vectors stay.
-- Moves:  nothing
-- Keys:   x-py:indexes
-- Args:   name
-- Reply:  ["ok"] | ["no_index"] | ["no_module"] | ["cluster"] | ["refused", why]
--         no_module, cluster: there was no such index, and no module that could know of one
-- Errors: bad_argument
-- Events: none
Library.command("drop_job_index", { "allow-oom" }, { name = "string" }, function(keys, args)
  local dropped, status, why = JobIndex.ask("FT.DROPINDEX", args.name)
  if status == "refused" then
    return Replies.pack("refused", why)
  end
  local noted = redis.call("HDEL", keys.indexes, args.name) == 1
  if dropped or noted then
    return Replies.pack("ok")
  end
  return Replies.pack(status)
end)
