-- report_tokens: note how many tokens a run of a job has used; a later report takes the place of an earlier one.
-- Moves:  nothing
-- Keys:   job
-- Args:   id, tokens
-- Reply:  {"ok"} | {"missing"}
-- Errors: bad_argument
-- Events: none
local SPEC = { id = "string", tokens = "number" }

Library.command("report_tokens", { "allow-oom" }, SPEC, function(keys, args)
  if not View.exists(keys, args.id) then
    return Replies.pack("missing")
  end
  redis.call("HSET", keys.job .. args.id, "tpmTokens", string.format("%.0f", args.tokens))
  return Replies.pack("ok")
end)
