-- News: a child tells its parents how it ended. Parents in its own queue hear it in the same call; those of other
-- queues, and whatever would make a call long, through the outbox.
local News = {}

News.KIND = "child"
News.REMOVED = "removed"

-- Parents told in one call, about 10 us each.
local TOLD_AT_ONCE = 200
-- Reasons are passed up whole trees, one inside the other.
local LONGEST_REASON = 4096

local DEFAULT_POLICY = "fail_parent"
local POLICY = "x-py:onFailure"
local POLICIES = { fail_parent = true, ignore = true, remove = true, ["continue"] = true }

-- What the child's failure means for its parents, as its options say.
local function policy_of(opts)
  if not opts or not string.find(opts, '"' .. POLICY .. '"', 1, true) then
    return DEFAULT_POLICY
  end
  local ok, decoded = pcall(cjson.decode, opts)
  local policy = ok and type(decoded) == "table" and decoded[POLICY]
  return POLICIES[policy] and policy or DEFAULT_POLICY
end

-- Cut at a whole character.
local function brief(reason)
  local size = LONGEST_REASON
  if #reason <= size then
    return reason
  end
  while size > 0 and bit.band(string.byte(reason, size + 1), 0xC0) == 0x80 do
    size = size - 1
  end
  return string.sub(reason, 1, size)
end

local function tell(settlement, prefix, parent_id, member, what, text)
  if prefix == settlement.keys.prefix and settlement.told < TOLD_AT_ONCE then
    settlement.told = settlement.told + 1
    Dependencies.hear(settlement, parent_id, member, what, text)
  else
    Outbox.post(settlement, News.KIND, prefix, cmsgpack.pack({ parent_id, member, what, text }))
  end
end

-- `parent_ids` is present only when the job has several dependents, which then stand in its parents set.
local function tell_all(settlement, id, parent_id, parent_queue, parent_ids, what, text)
  local keys = settlement.keys
  local member = Keys.member(keys, id)
  if parent_id and parent_queue then
    tell(settlement, Keys.prefix_of(keys, parent_queue), parent_id, member, what, text)
  end
  if parent_ids then
    for _, parent in ipairs(redis.call("SMEMBERS", keys.parents .. id)) do
      local prefix, other_id = Keys.split_member(parent)
      if prefix then
        tell(settlement, prefix, other_id, member, what, text)
      end
    end
  end
end

-- `value` is what the child returned if its hash does not last, else false.
function News.completed(settlement, id, parent_id, parent_queue, parent_ids, value)
  tell_all(settlement, id, parent_id, parent_queue, parent_ids, "completed", value)
end

-- What a look at a child that a parent waits for has found.
News.TOLD, News.ALIVE, News.MISSING = 1, 2, 3

-- Tells one parent once more how this child has ended, if it has.
function News.tell_again(settlement, id, prefix, parent_id)
  local keys = settlement.keys
  local job = redis.pcall("HMGET", keys.job .. id, "id", "state", "opts", "failedReason")
  if job.err or not job[1] then
    return News.MISSING
  elseif job[2] == "completed" then
    tell(settlement, prefix, parent_id, Keys.member(keys, id), "completed", false)
  elseif job[2] == "failed" then
    tell(settlement, prefix, parent_id, Keys.member(keys, id), policy_of(job[3]), brief(job[4] or ""))
  else
    return News.ALIVE
  end
  return News.TOLD
end

-- Jobs that ended otherwise, or are about to be deleted, are noted in `settlement.untold`, from wherever; their hashes
-- are still there. Returns whether there were any: telling their parents may have made those fail.
function News.tell_of_lost(settlement)
  local lost, keys = settlement.untold, settlement.keys
  settlement.untold = {}
  for _, id in ipairs(lost) do
    local job = redis.pcall(
      "HMGET", keys.job .. id, "parentId", "parentQueue", "parentIds", "opts", "state", "failedReason"
    )
    if not job.err and (job[1] or job[3]) then
      local reason = job[5] == "failed" and job[6] or News.REMOVED
      tell_all(settlement, id, job[1], job[2], job[3], policy_of(job[4]), brief(reason))
    end
  end
  return #lost > 0
end
