-- GivingBack: jobs leave a host's hands without an outcome and wait again, in front of all others.
local GivingBack = {}
GivingBack.__index = GivingBack

function GivingBack.open(settlement)
  return setmetatable({ settlement = settlement, entries = {}, lists = {} }, GivingBack)
end

local function wait_again(keys, id, run)
  States.enter(keys, id, "waiting", Lease.RUN, run)
  redis.call("HDEL", keys.job .. id, "processedOn", "lastActive")
end

-- `run` replaces the holder's token; `job` carries lifo, name and cell of the hash (false when absent).
-- `tail`: make the job an ordinary new entry, for hosts that do not know about `py-returned`.
function GivingBack:add(id, entry_id, run, job, tail)
  local keys = self.settlement.keys
  wait_again(keys, id, run)
  if entry_id == "" then
    self.settlement:leave(id, entry_id, job.cell)
    local list = Ready.list_of(keys, job.lifo)
    local ids = self.lists[list] or {}
    ids[#ids + 1] = id
    self.lists[list] = ids
  elseif tail then
    self.settlement:leave(id, entry_id)
    Ready.append(keys, id, job.name)
  else
    self.entries[#self.entries + 1] = entry_id
  end
end

function GivingBack:close()
  local keys = self.settlement.keys
  Ready.give_back(keys, self.entries)
  for list, ids in pairs(self.lists) do
    Ready.push_back(keys, list, ids)
  end
  if next(self.lists) then
    Ready.ring(keys)
  end
end
