-- Firing: a scheduler's slot becomes a job. What is decided is gathered first, written last, and the entry's next run
-- is compared as it stands now: whoever comes later, however long it was frozen, finds the slot gone.
local Firing = {}
Firing.__index = Firing

local MAX_PRIORITY = 2048
local MAX_DATA_BYTES = 1048576

function Firing.open(keys, now)
  return setmetatable({ keys = keys, now = now, entries = {}, following = {}, rows = {} }, Firing)
end

-- A whole number of a template's options that others wrote, within bounds.
local function whole(value, most)
  value = tonumber(value)
  if not value or value ~= value or value <= 0 then
    return 0
  end
  return math.floor(math.min(value, most))
end

-- The last member of a row: group and cost, as far as others wrote what makes sense, and who waits for the job's end.
local function extra_of(entry, opts)
  local extra = Ordering.of_options(opts)
  if extra and Ordering.fault(extra) then
    extra = nil
  end
  if entry.after then
    extra = extra or {}
    extra.schedulerName = entry.name
  end
  return extra or false
end

-- The job of one slot as a row (see Adding), or nil when its data is too long for a job. Custom id, deduplication and
-- delay of a template only appear in its opts.
local function row_of(entry)
  local template = entry.template and JsonText.members(entry.template) or {}
  local name = JsonText.string(template.name)
  -- Data in the words of another serializer than JSON stands beside its JSON form.
  local data = JsonText.string(template["x-py:data"]) or template.data
  if not data or data == "null" then
    data = "{}"
  end
  if #data > MAX_DATA_BYTES then
    return nil
  end
  local text = template.opts and JsonText.members(template.opts) and template.opts or "{}"
  local ok, opts = pcall(cjson.decode, text)
  opts = ok and opts or {}
  local extra = extra_of(entry, opts)
  -- Nobody's upsert takes both; a group promises more than a place in the row.
  local lifo = (opts.lifo == true or opts.lifo == 1) and not (extra and extra.ordering)
  return {
    name and name ~= "" and name or entry.name, data, text, 0, whole(opts.priority, MAX_PRIORITY), lifo and 1 or 0,
    whole(opts.ttl, 2 ^ 41), whole(opts.attempts, 2 ^ 31), false, false, false, extra,
  }
end

-- Anchored to the slot that was due: missed slots are skipped, and the rhythm does not drift.
local function next_of_every(entry, now)
  return entry.next_run + (math.floor((now - entry.next_run) / entry.every) + 1) * entry.every
end

-- The last slot that its bounds allow: what would follow does not matter.
local function is_last(entry)
  return entry.limit ~= nil and entry.count + 1 >= entry.limit
end

-- Decides about a due entry. Returns "fire"; "want" when a cron pattern's next run must be told first; "refuse" when
-- its data is too long. `told` is that next run, false for none ever.
function Firing:decide(entry, told)
  local following = false
  if entry.after then
    following = 0
  elseif entry.every and not entry.pattern then
    following = next_of_every(entry, self.now)
  elseif not is_last(entry) then
    if told == nil or told and told <= self.now then
      return "want"
    end
    following = told
  end
  local row = row_of(entry)
  if not row then
    return "refuse"
  end
  local number = #self.rows + 1
  self.entries[number], self.following[number], self.rows[number] = entry, following, row
  return "fire"
end

local function advance(self, entry, following, id)
  local keys, now = self.keys, self.now
  entry.count = entry.count + 1
  local waits = entry.after ~= nil
  if not following or Schedulers.is_over(entry, following) then
    Schedulers.delete(keys, entry.name)
    return
  end
  local changes = { { "iterationCount", JsonText.whole(entry.count) }, { "lastRun", JsonText.whole(now) } }
  Schedulers.store(keys, entry, changes, following, waits and now + SchedulerRuns.LIVE_MS or following)
  if waits then
    Schedulers.note_run(keys, entry.name, now, ":", id)
  end
end

-- Adds the jobs and moves their entries on. Returns {{scheduler name, job id}}, or nil when the id counter is no
-- integer; nothing is written then.
function Firing:close()
  local keys = self.keys
  local next_id = Adding.id_source(keys, self.rows)
  if not next_id then
    return nil
  end
  local fired, ring = {}, false
  for number, row in ipairs(self.rows) do
    local id, _, rings = Adding.add(keys, row, self.now, next_id, true)
    local entry = self.entries[number]
    advance(self, entry, self.following[number], id)
    fired[number] = { entry.name, id }
    ring = ring or rings
  end
  if ring then
    Ready.ring(keys)
  end
  return fired
end
