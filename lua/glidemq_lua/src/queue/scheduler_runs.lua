-- SchedulerRuns: the janitor of entries that wait for a run. Every end that this library sees re-arms its scheduler at
-- once; this is for the ends that it cannot see: a Node worker's stall, expiry, revocation, drain or removal.
local SchedulerRuns = {}

-- A run in somebody's hands is looked at this often; the look is one HMGET.
SchedulerRuns.LIVE_MS = 5000
-- A Node worker that completes a job re-arms the scheduler a moment later, by itself.
local GRACE_MS = 1000
-- A run that Node started is searched for among all jobs, if it takes this long; then a slice per second.
local PATIENCE_MS = 30000
local SEARCH_EVERY_MS = 1000
local SEARCHED_AT_ONCE = 1000

local function check_known(keys, entry, id, now)
  local job = redis.pcall("HMGET", keys.job .. id, "state", "finishedOn")
  if job.err or not job[1] then
    Schedulers.rearm(keys, entry, now)
    return
  elseif not Schedulers.has_ended(job[1]) then
    Schedulers.look_at(keys, entry.name, now + SchedulerRuns.LIVE_MS)
    return
  end
  local ended_at = tonumber(job[2]) or now - GRACE_MS
  if now - ended_at < GRACE_MS then
    Schedulers.look_at(keys, entry.name, ended_at + GRACE_MS)
  else
    Schedulers.rearm(keys, entry, ended_at)
  end
end

-- The first of `found` keys that is an unfinished job of this scheduler.
local function live_job(keys, name, found)
  local prefix = #keys.job
  for _, key in ipairs(found) do
    local id = string.sub(key, prefix + 1)
    if not string.find(id, ":", 1, true) then
      local job = redis.pcall("HMGET", key, "schedulerName", "state")
      if not job.err and job[1] == name and not Schedulers.has_ended(job[2]) then
        return id
      end
    end
  end
  return nil
end

local function search(keys, entry, cursor, now)
  local pattern = string.gsub(keys.job, "[%*%?%[%]\\]", "\\%0") .. "*"
  local reply = redis.call("SCAN", cursor, "MATCH", pattern, "COUNT", SEARCHED_AT_ONCE)
  local id = live_job(keys, entry.name, reply[2])
  if id then
    Schedulers.note_run(keys, entry.name, entry.last_run, ":", id)
    Schedulers.look_at(keys, entry.name, now + SchedulerRuns.LIVE_MS)
  elseif reply[1] == "0" then
    Schedulers.rearm(keys, entry, now)
  else
    Schedulers.note_run(keys, entry.name, entry.last_run, "?", reply[1])
    Schedulers.look_at(keys, entry.name, now + SEARCH_EVERY_MS)
  end
end

-- Looks after one waiting entry. Returns true if it searched: one slice per call is enough.
function SchedulerRuns.check(keys, entry, now, may_search)
  local id, cursor = Schedulers.run_of(keys, entry)
  if id then
    check_known(keys, entry, id, now)
    return false
  end
  local patient_until = (entry.last_run or 0) + PATIENCE_MS
  if now < patient_until then
    Schedulers.look_at(keys, entry.name, patient_until)
    return false
  elseif not may_search then
    Schedulers.look_at(keys, entry.name, now + SEARCH_EVERY_MS)
    return false
  end
  search(keys, entry, cursor or "0", now)
  return true
end
