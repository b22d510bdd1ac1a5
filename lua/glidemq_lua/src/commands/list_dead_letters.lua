-- list_dead_letters: the letters of one queue, or of all, among the jobs of this one, one bounded page at a time.
-- Moves:  nothing
-- Keys:   stream, jobs
-- Args:   source (the bare name of the queue that they are from; absent: of whichever), newest_first, brief, limit,
--         resume (from the last reply; absent at first)
-- Reply:  {"ok", letters, resume or false}
--         letters: {field, value, ...} of each job; if brief, [id, timestamp, error, the reason's start, source]
--         A page may be short or empty and yet not the last.
-- Errors: bad_argument
-- Events: none
local SPEC = {
  source = "?string", newest_first = "?boolean", brief = "?boolean", limit = "number", resume = "?string",
}

local PAGE_BYTES = 1048576
local MOST = 500
local BUDGET = 1000 -- entries looked at
local CHUNK = 100

local function read_chunk(keys, newest_first, after)
  if newest_first then
    return redis.call("XREVRANGE", keys.stream, after and "(" .. after or "+", "-", "COUNT", CHUNK)
  end
  return redis.call("XRANGE", keys.stream, after and "(" .. after or "-", "+", "COUNT", CHUNK)
end

local function letter_of(keys, id, source, reason, brief)
  if not brief then
    local flat = View.read(keys, id, false)
    return flat, flat and View.size(flat) or 0
  end
  local job = redis.call("HMGET", keys.job .. id, "timestamp", "x-py:error")
  return { id, job[1] or "0", job[2] or "", reason, source }, 0
end

Library.command("list_dead_letters", { "no-writes" }, SPEC, function(keys, args)
  local after = args.resume or nil
  if after and not string.find(after, "^%d+%-%d+$") then
    return Replies.bad_argument("resume must come from an earlier reply")
  end
  local limit = math.max(math.min(args.limit, MOST), 1)
  local letters, bytes = {}, 0
  for _ = 1, BUDGET, CHUNK do
    local entries = read_chunk(keys, args.newest_first, after)
    for _, entry in ipairs(entries) do
      after = entry[1]
      local id = Ready.job_id(entry[2])
      local source, reason = nil, nil
      if id then
        source, reason = Letters.origin(keys, id)
      end
      if source and source == (args.source or source) then
        local letter, size = letter_of(keys, id, source, reason, args.brief)
        letters[#letters + 1] = letter
        bytes = bytes + size
        if #letters >= limit or bytes >= PAGE_BYTES then
          return Replies.pack("ok", letters, after)
        end
      end
    end
    if #entries < CHUNK then
      return Replies.pack("ok", letters, false)
    end
  end
  return Replies.pack("ok", letters, after)
end)
