-- Replies: one bulk string per call, a msgpack array whose first element is a status word.
-- A status is data: a Lua error means a defect of this library or a key of a foreign type.
local Replies = {}

-- What happened to one row of an outcome call; the numbers are the wire's.
Replies.ACCEPTED = 1
Replies.ALREADY = 2
Replies.GONE = 3
Replies.LEASE_LOST = 4
Replies.RETRYING = 5
Replies.FAILED = 6
Replies.REVOKED = 7
Replies.NO_GROUP = 8
Replies.PUT_OFF = 9

-- Arrays end at the first nil, so an absent value inside one is `false`.
function Replies.pack(...)
  return cmsgpack.pack({ ... })
end

function Replies.bad_argument(fault)
  return cmsgpack.pack({ "bad_argument", fault })
end
