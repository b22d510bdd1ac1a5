-- Clock: epoch milliseconds of the server, so that the clocks of the workers' hosts do not matter.
-- A test passes `now` instead and never waits.
local Clock = {}

function Clock.now_ms(args)
  if args.now then
    return args.now
  end
  local time = redis.call("TIME")
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
