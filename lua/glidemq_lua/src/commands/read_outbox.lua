-- read_outbox: what other queues must hear of jobs of this one, oldest first. Whoever has carried an entry over clears
-- it (clear_outbox); until then anybody may carry it.
-- Moves:  nothing
-- Keys:   x-py:outbox
-- Args:   limit, after (the last reply's next; "" at first), min_age_ms (younger ones are left to those who wrote them)
-- Reply:  ["ok", [[entry_id, kind, to, body, age_ms]], next or ""]
--         kind and to: whose command takes the row `body`, and what its queue's keys start with
-- Errors: bad_argument
-- Events: none
local SPEC = { limit = "number", after = "string", min_age_ms = "number" }

local MOST = 500
local MOST_BYTES = 1048576

local function fields_of(entry)
  local fields = {}
  for index = 1, #entry[2], 2 do
    fields[entry[2][index]] = entry[2][index + 1]
  end
  return fields
end

Library.command("read_outbox", { "no-writes" }, SPEC, function(keys, args, now)
  local from = args.after == "" and "-" or "(" .. args.after
  local limit = math.max(math.min(args.limit, MOST), 1)
  local found = redis.call("XRANGE", keys.outbox, from, "+", "COUNT", limit)
  local entries, bytes = {}, 0
  for _, entry in ipairs(found) do
    local fields = fields_of(entry)
    local age_ms = now - tonumber(string.match(entry[1], "^(%d+)"))
    if age_ms < args.min_age_ms then
      return Replies.pack("ok", entries, "")
    elseif #entries > 0 and bytes + #fields.body > MOST_BYTES then
      return Replies.pack("ok", entries, entries[#entries][1])
    end
    bytes = bytes + #fields.body
    entries[#entries + 1] = { entry[1], fields.kind, fields.to, fields.body, age_ms }
  end
  return Replies.pack("ok", entries, #found == limit and found[#found][1] or "")
end)
