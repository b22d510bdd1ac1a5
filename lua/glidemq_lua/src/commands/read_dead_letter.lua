-- read_dead_letter: what a replay needs of one letter among the jobs of this queue.
-- Moves:  nothing
-- Keys:   job
-- Args:   id
-- Reply:  ["ok", now_ms, [id, name, queue or false, original id or false, data or false, opts or false, timestamp]] |
--         ["missing"]
--         queue and original id: where the job failed; false when this is no letter. data: as it was stored there
-- Errors: bad_argument
-- Events: none
Library.command("read_dead_letter", { "no-writes" }, { id = "string" }, function(keys, args, now)
  local letter = Letters.read(keys, args.id)
  if not letter then
    return Replies.pack("missing")
  end
  return Replies.pack("ok", now, letter)
end)
