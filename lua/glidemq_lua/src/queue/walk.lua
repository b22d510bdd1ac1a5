-- Walk: reading a range of positions over a row of segments, a bounded slice per call.
--
-- A segment has size(), and page(at, count) -> found, one position per found element, [position behind all read].
-- `at` is false at the segment's start. A found element is a job id, or what the segment's `job_at` turns into one;
-- false where no job stands. An `indexed` segment (a list, a sorted set) has numbers for positions and is jumped
-- into; in a stream a place deep inside is reached by reading over what lies before it.
local Walk = {}

-- Elements read in one step, while skipping and while collecting.
local SKIP_CHUNK = 500
local PAGE_CHUNK = 100

-- Where a walk over first..last (inclusive; negative counts from the end) starts, or nil if the range is empty.
-- A walk is {segment, position in it or false, positions to skip, positions to take (negative: all)}.
function Walk.start(segments, first, last)
  local to_the_end = last == -1
  if first < 0 or last < -1 then
    local total = 0
    for _, segment in ipairs(segments) do
      total = total + segment.size()
    end
    first = first < 0 and math.max(total + first, 0) or first
    last = last < -1 and total + last or last
  end
  if to_the_end then
    return { 1, false, first, -1 }
  end
  if last < first then
    return nil
  end
  return { 1, false, first, last - first + 1 }
end

-- Returns the position to read from, or nil if the skip goes past the segment, and what is left to skip.
local function jump(segment, at, skip)
  local from = at or 0
  local left = math.max(segment.size() - from, 0)
  if skip >= left then
    return nil, skip - left
  end
  return from + skip, 0
end

-- Goes on with a walk over at most `budget` positions. `visit(id)` answers true when its page is full. Returns the
-- walk to go on with, or nil at its end.
function Walk.advance(segments, walk, budget, visit)
  local number, at, skip, take = walk[1], walk[2], walk[3], walk[4]
  while budget > 0 do
    local segment = segments[number]
    if not segment then
      return nil
    end
    if segment.indexed and skip > 0 then
      at, skip = jump(segment, at, skip)
    end
    local found, positions, beyond = {}, {}, nil
    if at ~= nil then
      found, positions, beyond = segment.page(at, skip > 0 and SKIP_CHUNK or PAGE_CHUNK)
    end
    for index = 1, #found do
      at, budget = positions[index], budget - 1
      if skip > 0 then
        skip = skip - 1
      else
        take = take - 1
        local id = found[index]
        if segment.job_at then
          id = segment.job_at(id)
        end
        local full = id and visit(id)
        if take == 0 then
          return nil
        end
        if full then
          return { number, at, skip, take }
        end
      end
    end
    if beyond then
      at, budget = beyond, budget - PAGE_CHUNK
    elseif #found == 0 then
      number, at = number + 1, false
    end
  end
  return { number, at, skip, take }
end
