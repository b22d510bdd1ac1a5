-- States: where a job may be, and the only ways from one state to another.
--
--   (new) --> waiting <---------------------------.            delayed, prioritized, group-waiting, suspended
--     |         |  ^------ delayed, prioritized <--|---.       and waiting-children become waiting again and
--     |         v                                  |   |       never active directly; from any of them a job
--     |       active --> completed                 |   |       may fail (expiry, revocation, limits).
--     |         |------> failed -- (manual retry) -|---|
--     |         |------> waiting (given back, stalled)
--     |         '------> delayed, suspended, waiting-children, group-waiting
--     '--> delayed, prioritized, waiting-children
local States = {}

States.LEGAL = {
  waiting = { active = true, failed = true, delayed = true, prioritized = true, ["group-waiting"] = true },
  delayed = { waiting = true, delayed = true, prioritized = true, failed = true },
  prioritized = { waiting = true, delayed = true, prioritized = true, failed = true },
  ["group-waiting"] = { waiting = true, failed = true },
  ["waiting-children"] = { waiting = true, failed = true },
  suspended = { waiting = true, failed = true },
  active = {
    completed = true,
    failed = true,
    waiting = true,
    delayed = true,
    suspended = true,
    ["waiting-children"] = true,
    ["group-waiting"] = true,
  },
  completed = {},
  failed = { delayed = true },
}

function States.may_move(from, to)
  local targets = States.LEGAL[from]
  return targets ~= nil and targets[to] == true
end

function States.is_terminal(state)
  return state == "completed" or state == "failed"
end
