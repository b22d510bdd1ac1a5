-- Keys: the names of a queue's keys, all derived from the one key that a call declares, P:meta.
-- P is `<prefix>:{<queue>}`, so everything below lives in one cluster slot. Suffixes starting with x-py: are this
-- library's own; the others are shared with glide-mq for Node.
local Keys = {}

local SUFFIX = {
  meta = ":meta",
  id = ":id",
  stream = ":stream",
  scheduled = ":scheduled",
  priority = ":priority",
  lifo = ":lifo",
  list_active = ":list-active",
  completed = ":completed",
  failed = ":failed",
  suspended = ":suspended",
  ratelimited = ":ratelimited",
  events = ":events",
  metrics_completed = ":metrics:completed",
  metrics_failed = ":metrics:failed",
  ordering = ":ordering",
  dedup = ":dedup",
  schedulers = ":schedulers",
  scheduler_lock = ":schedulers:lock:__tick__", -- string with a TTL: whoever changes schedulers in several calls
  rate = ":rate",
  -- Prefixes: append an id.
  job = ":job:",
  log = ":log:",
  jstream = ":jstream:",
  signals = ":signals:",
  deps = ":deps:",
  parents = ":parents:",
  group = ":group:",
  groupq = ":groupq:",
  vec = ":vec:", -- hash: vectors of a job, with copies of some of its fields, for a search index
  tpm = ":tpm:", -- + window number; string with a TTL: the tokens spoken for in that window
  worker = ":w:",
  usage = ":usage:", -- + minute
  budget = ":budget:", -- + id of a flow's root; hash: what its jobs may use, and have used
  -- Own keys.
  observed = ":x-py:observed", -- hash with a TTL, only under a limit key: what its provider has said
  bell = ":x-py:bell", -- stream: wakes a blocked reader when a list or an earlier due time was written
  cells = ":x-py:cells", -- zset, all scores 0: the cells that may have a key below
  active_of = ":x-py:active:", -- + cell; zset by lastActive: the list-sourced active jobs of a cell
  scheduler_looks = ":x-py:schedulers", -- zset: when to look at each scheduler next, ms
  scheduler_runs = ":x-py:scheduler-runs", -- hash: the unfinished run of each scheduler that waits for one
  scheduler_scan = ":x-py:scheduler-scan", -- string with a TTL: how far the schedulers of others were looked for
  dedup_looks = ":x-py:dedup", -- zset: when to look at each entry of P:dedup next, ms; `<job id>:<dedup id>`
  dead_letters = ":x-py:dead-letters", -- stream: jobs that failed for good, until they are in the dead letter queue
  dead_letters_carrier = ":x-py:dead-letters:carrier", -- string with a TTL: who carries them over
  letters = ":x-py:letters:", -- + source queue; zset: entries of its outbox that have arrived in this queue
  replay = ":x-py:replay:", -- + letter; string with a TTL: the job that its replay has made
  replayed = ":x-py:replayed", -- zset: jobs made by replays that have not ended
  replays = ":x-py:replays", -- hash: how replays ended
  revocations = ":x-py:revocations", -- zset by time with a TTL: running jobs that were revoked in the last minute
  workers = ":x-py:workers", -- zset by expiry ms: the consumers of this library that are alive
  parent_looks = ":x-py:parents", -- zset: when to look after each parent that waits for its children, ms
  outbox = ":x-py:outbox", -- stream: what other queues must hear of jobs of this one
  budget_books = ":x-py:budget:", -- + flow; hash with a TTL: what each job has used and reserved, see Budget
  budget_flying = ":x-py:budget-flying:", -- + flow; zset with a TTL: the jobs that have a reservation, by when
  budget_waiting = ":x-py:budget-waiting:", -- + flow; zset with a TTL: those that wait for others' to end
  budget_paused = ":x-py:budget-paused:", -- + flow; zset with a TTL: those that wait for more
  allowances = ":x-py:allowances", -- hash with a TTL: the jobs of this queue that have asked a budget, see Allowance
  statements = ":x-py:statements", -- string with a TTL: the version of the latest statement to a budget
  short_lock = ":x-py:short-lock", -- string with a TTL: the shortest lock that a running job has of its own, ms
  vectors = ":x-py:vectors", -- zset, all scores 0: the jobs that have a key vec
  vectors_look = ":x-py:vectors-look", -- string with a TTL: a sample of them was looked at just now
  indexes = ":x-py:indexes", -- hash: what each search index is made of
  streaming = ":x-py:streaming", -- string with a TTL: another number whenever the state of a job that streams changes
  lane = ":x-py:lane:", -- + lane; string with a TTL: the remembered reply of its latest call
  add_reply = ":x-py:add:", -- + call id; string with a TTL: the remembered reply of an add or a signal
}

local META_SUFFIX_LENGTH = #SUFFIX.meta

-- Names are joined on first use: a call touches few of them.
local naming = {
  __index = function(keys, name)
    local key = rawget(keys, "prefix") .. SUFFIX[name]
    rawset(keys, name, key)
    return key
  end,
}

function Keys.of(meta_key)
  local prefix = string.sub(meta_key, 1, -META_SUFFIX_LENGTH - 1)
  -- changed: the ids of the jobs that this call has changed, see States; followed: how many of them Allowance has seen.
  return setmetatable({ prefix = prefix, declared = meta_key, changed = {}, followed = 0 }, naming)
end

-- The bare queue name, as stored in parentQueue: the text between the braces.
function Keys.queue_name(keys)
  return string.match(keys.prefix, "{(.*)}$")
end

-- What the keys of another queue with the same prefix start with.
function Keys.prefix_of(keys, queue_name)
  return string.match(keys.prefix, "^(.*){.*}$") .. "{" .. queue_name .. "}"
end

-- How a job is named where jobs of several queues stand side by side, as in the sets `deps` and `parents`.
function Keys.member(keys, id)
  return keys.prefix .. ":" .. id
end

-- The prefix and the id in such a name, or nil.
function Keys.split_member(member)
  return string.match(member, "^(.+):([^:]+)$")
end

-- Everything that belongs to one job and must go with it.
function Keys.of_job(keys, id)
  return keys.job .. id, keys.log .. id, keys.jstream .. id, keys.signals .. id, keys.deps .. id, keys.parents .. id,
    keys.vec .. id
end
