-- Allotment: how much of what is left one host may take at once, to spend without asking again. Far from the end that is
-- an eighth of it, so that calls are few; near it the blocks shrink to what can start now, so that nothing is stranded.
local Allotment = {}

local SHARE = 8

-- `free` is what is left, the caller's own block included. It needs `least` to start one job, `batch` to fill its slots,
-- and expects to spend `most` before the window ends. 0 when there is not enough for one job.
function Allotment.grant(free, least, batch, most)
  if free <= 0 or least > free then
    return 0
  end
  return math.min(free, math.max(least, batch, math.min(most, math.floor(free / SHARE))))
end
