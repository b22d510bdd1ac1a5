-- lease_tokens: a host exchanges what is left of its block of the present window's tokens for a new block. Whatever it
-- holds counts as used; what it has not spent when the window ends is void.
-- Moves:  nothing
-- Keys:   tpm
-- Args:   max, duration_ms, least, batch, most, held, window, overrun, keep
--         least, batch, most: see Allotment; all 0 gives the block back. held: the unspent part of a block of `window`.
--         overrun: tokens used beyond estimates, counted now. keep: leave the block as it is while half is free
-- Reply:  ["ok", now_ms, window, ends_ms, granted, free]
--         granted: the new block; free: what is left for everybody after that
-- Errors: bad_argument
-- Events: none
local SPEC = {
  max = "number", duration_ms = "number", least = "number", batch = "number", most = "number", held = "number",
  window = "number", overrun = "number", keep = "?boolean",
}

Library.command("lease_tokens", { "allow-oom" }, SPEC, function(keys, args, now)
  if args.max < 1 or args.duration_ms < 1 then
    return Replies.bad_argument("max and duration_ms must both be above 0")
  end
  local window = TokenWindow.open(keys, args.duration_ms, now)
  local held = args.window == window.number and args.held or 0
  local free = args.max - window.used - args.overrun + held
  local granted
  if args.keep and 2 * (free - held) >= args.max then
    granted = held
  else
    granted = Allotment.grant(free, math.min(args.least, args.max), args.batch, args.most)
  end
  window:add(args.overrun + granted - held)
  return Replies.pack("ok", now, window.number, window.ends, granted, math.max(args.max - window.used, 0))
end)
