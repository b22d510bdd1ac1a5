-- Groups: the gates of ordering keys, group concurrency and group rate limits.
local Groups = {}

-- The one place where every start asks: true lets the job start. A false result must have parked the job. Only the
-- jobs of producers that set an ordering key or a cost carry such fields; they start like plain ones so far, and
-- take none of the work ahead of free slots (see Intake).
function Groups.admit(_settlement, _id, _values)
  return true
end
