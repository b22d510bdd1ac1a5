-- observe_limit: note what a provider has said about a limit key; called on a key of its own, not a queue's.
-- Moves:  nothing
-- Keys:   observed
-- Args:   retry_ms: hold everybody back for so long; requests, tokens: what is left for `reset_ms`; false: not said
-- Reply:  ["ok"]
-- Errors: bad_argument
-- Events: none
local SPEC = { retry_ms = "?number", requests = "?number", tokens = "?number", reset_ms = "number" }

Library.command("observe_limit", { "allow-oom" }, SPEC, function(keys, args, now)
  ProviderLimit.observe(keys, now, args)
  return Replies.pack("ok")
end)
