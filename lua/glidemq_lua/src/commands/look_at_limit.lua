-- look_at_limit: what a provider has said about a limit key, and this host's share of what it has left.
-- Moves:  nothing
-- Keys:   observed
-- Args:   requests, tokens, each {batch, held, until}: for all free slots; the rest of an earlier share, and until when
--         it held
-- Reply:  ["ok", hold_ms, [share, ms, until], [share, ms, until]]
--         hold_ms: nothing may start for so long; share of the requests and of the tokens, -1 where nothing was said,
--         and for how long it holds
-- Errors: bad_argument
-- Events: none
local SPEC = { requests = "table", tokens = "table" }
local CHECKED = { "number", "number", "number" }

local function share_of(keys, said, name, row, now)
  local share, ends = ProviderLimit.share(keys, said, name, row[1], row[2], row[3])
  return { share or -1, share and ends - now or 0, ends }
end

Library.command("look_at_limit", { "allow-oom" }, SPEC, function(keys, args, now)
  local fault = Arguments.row_fault({ args.requests, args.tokens }, CHECKED)
  if fault then
    return Replies.bad_argument(fault)
  end
  local said = ProviderLimit.read(keys, now)
  return Replies.pack(
    "ok",
    math.max(said.hold_until - now, 0),
    share_of(keys, said, "requests", args.requests, now),
    share_of(keys, said, "tokens", args.tokens, now)
  )
end)
