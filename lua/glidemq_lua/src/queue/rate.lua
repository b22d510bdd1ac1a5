-- Rate: how many jobs may start per window. `P:rate` holds one fixed window, which opens with the first start after
-- the one before it has ended; all workers of the queue count in it. A limit is {max, duration_ms}.
local Rate = {}

-- The one that admits fewer starts in the long run, or of two equal ones the smaller burst; either may be nil.
function Rate.stricter(a, b)
  if not a or not b then
    return a or b
  end
  local of_a, of_b = a.max * b.duration_ms, b.max * a.duration_ms
  if of_a == of_b then
    return a.max <= b.max and a or b
  end
  return of_a < of_b and a or b
end

-- The window at `now`: `free` starts are left in it, and it `ends` at a time in epoch ms.
function Rate.window(keys, limit, now)
  local stored = redis.call("HMGET", keys.rate, "windowStart", "count")
  local start = tonumber(stored[1])
  if not start or now - start >= limit.duration_ms then
    return { is_new = true, free = limit.max, ends = now + limit.duration_ms }
  end
  return { free = math.max(limit.max - (tonumber(stored[2]) or 0), 0), ends = start + limit.duration_ms }
end

-- `starts` jobs have started. A window without any does not open.
function Rate.count(keys, window, starts, now)
  if starts == 0 then
    return
  end
  window.free = window.free - starts
  if window.is_new then
    redis.call("HSET", keys.rate, "windowStart", now, "count", starts)
  else
    redis.call("HINCRBY", keys.rate, "count", starts)
  end
end

-- Jobs activated at these times went back unstarted: those of the present window did not happen.
function Rate.refund(keys, activated_on)
  if #activated_on == 0 then
    return
  end
  local stored = redis.call("HMGET", keys.rate, "windowStart", "count")
  local start, count = tonumber(stored[1]), tonumber(stored[2]) or 0
  local fewer = 0
  for _, activated in ipairs(activated_on) do
    if start and activated >= start and fewer < count then
      fewer = fewer + 1
    end
  end
  if fewer > 0 then
    redis.call("HINCRBY", keys.rate, "count", -fewer)
  end
end
