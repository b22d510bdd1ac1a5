-- Retry: what follows a failed run - another try after a delay, or the end.
local Retry = {}

-- `max_attempts` counts all runs; 0 and 1 both mean a single one.
function Retry.is_left(max_attempts, attempts_made)
  return max_attempts > 0 and attempts_made < max_attempts
end

-- Jobs with a fallback chain move on to its next entry with every retry.
function Retry.has_fallbacks(opts)
  return opts ~= false and string.find(opts, '"fallbacks"', 1, true) ~= nil
end
