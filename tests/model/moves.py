"""Which jobs may change their state by which action: the "Moves" of the commands, one table for all."""

from __future__ import annotations

Move = tuple[str | None, str | None]  # None: the job does not exist

ENDED = {"completed", "failed"}
WAITS = {"waiting", "delayed", "prioritized", "group-waiting"}
PLACED = WAITS | {
    "waiting-children",
    "suspended",
}  # every state of a job that nobody runs and that has not ended
READY = {"waiting", "prioritized"}  # after a wait of its own: by its priority
STARTABLE = {"waiting", "delayed", "prioritized", "group-waiting", "waiting-children"}


def _moves(sources: set[str], targets: set[str]) -> set[Move]:
    return {(source, target) for source in sources for target in targets if source != target}


# What the end of one job means for others: its parent hears of it, its group goes on.
CONSEQUENCES = _moves({"waiting-children"}, READY | {"failed"}) | _moves(
    {"group-waiting"}, {"waiting", "failed"}
)
_RUN_ENDS_AS_REVOKED = {("active", "failed")} | CONSEQUENCES

MOVES: dict[str, set[Move]] = {
    "none": set(),
    "enqueue": {(None, state) for state in PLACED - {"suspended"}} | CONSEQUENCES,
    "step": _moves(STARTABLE, {"waiting", "group-waiting", "active", "failed"})
    | _moves({"active"}, ENDED)
    | {("suspended", "failed"), ("waiting-children", "prioritized")},
    "fail": _moves({"active"}, {"delayed", "waiting", "failed"}) | CONSEQUENCES,
    "release": _moves({"active"}, {"waiting"}) | _RUN_ENDS_AS_REVOKED,
    "suspend": _moves({"active"}, {"suspended"} | READY) | _RUN_ENDS_AS_REVOKED,
    "move_to_delayed": _moves({"active"}, {"delayed"}) | _RUN_ENDS_AS_REVOKED,
    "move_to_waiting_children": _moves({"active"}, {"waiting-children"} | READY) | _RUN_ENDS_AS_REVOKED,
    "rate_limit_group": _moves({"active"}, {"group-waiting"}) | _RUN_ENDS_AS_REVOKED,
    "recover_orphans": {("active", "waiting")} | CONSEQUENCES,
    "recover_stalled": _moves({"active"}, {"waiting", "failed"}) | CONSEQUENCES,
    "promote_due": _moves({"delayed", "prioritized"}, {"waiting", "failed"})
    | {("suspended", "failed")}
    | CONSEQUENCES,
    "revoke": _moves(PLACED, {"failed"}) | CONSEQUENCES,
    "remove": CONSEQUENCES,
    "drain": CONSEQUENCES,
    "clean": set(),
    "change_delay": _moves({"waiting", "prioritized"}, {"delayed"})
    | _moves({"delayed"}, {"waiting", "prioritized"}),
    "change_priority": {("waiting", "prioritized"), ("prioritized", "waiting")},
    "promote_job": {("delayed", "waiting")},
    "retry": {("failed", "delayed")},
    "signal": _moves({"suspended"}, READY),
}

# Which jobs may disappear, by the states in which they were last seen. A job that ends may be removed in the same call.
REMOVALS: dict[str, set[str]] = {
    "enqueue": WAITS | {"waiting-children"},
    "remove": PLACED | ENDED | {"active"},
    "drain": {"waiting", "prioritized", "delayed", "waiting-children", "group-waiting"},
    "clean": ENDED,
}


def is_legal(action: str, before: str | None, after: str | None) -> bool:
    """Whether a job may have gone from one state to the other."""
    moves = MOVES[action]
    if before == after or (before, after) in moves:
        return True
    if after is not None or before is None:
        return False
    ends = any((before, end) in moves for end in ENDED)
    retention = before in ENDED and any(target in ENDED for _, target in moves)
    return ends or retention or before in REMOVALS.get(action, set())
