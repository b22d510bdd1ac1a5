"""Every command meets a job in every state: what is not legal is refused and changes nothing.

The legal pairs are written out here from the wire format's description of the states, not taken from the
library.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable

import pytest

from tests.lua.driven_queue import DrivenQueue, Started

STATES = (
    "waiting",
    "active",
    "delayed",
    "prioritized",
    "group-waiting",
    "waiting-children",
    "suspended",
    "completed",
    "failed",
)

# (state, command) -> the state afterwards. Everything else must be refused.
LEGAL = {
    ("waiting", "start"): "active",
    ("active", "complete"): "completed",
    ("active", "fail"): "failed",
    ("active", "retry"): "delayed",
    ("active", "release"): "waiting",
    ("active", "extend"): "active",
    ("active", "recover_stalled"): "waiting",
    ("active", "recover_orphans"): "waiting",
    ("delayed", "promote_due"): "waiting",
    ("prioritized", "promote_due"): "waiting",
    ("waiting-children", "last child completes"): "waiting",
    ("active", "move_to_delayed"): "delayed",
    ("active", "suspend"): "suspended",
    ("suspended", "signal"): "waiting",
    ("suspended", "time out"): "failed",
    ("waiting", "revoke"): "failed",
    ("delayed", "revoke"): "failed",
    ("prioritized", "revoke"): "failed",
    ("group-waiting", "revoke"): "failed",
    ("waiting-children", "revoke"): "failed",
    ("suspended", "revoke"): "failed",
    ("delayed", "promote_job"): "waiting",
    ("waiting", "change_priority"): "prioritized",
    ("prioritized", "change_priority"): "prioritized",
    ("delayed", "change_priority"): "delayed",
    ("waiting", "change_delay"): "delayed",
    ("prioritized", "change_delay"): "delayed",
    ("delayed", "change_delay"): "delayed",
    ("failed", "retry_job"): "delayed",
    ("failed", "retry_jobs"): "delayed",
    ("completed", "clean completed"): None,
    ("failed", "clean failed"): None,
    ("waiting", "drain"): None,
    ("prioritized", "drain"): None,
    ("delayed", "drain delayed"): None,
    ("waiting", "drain delayed"): None,
    ("prioritized", "drain delayed"): None,
}

JOB = "7"
FAR = 10**9


def make(driven: DrivenQueue, state: str) -> Started:
    """One job in a state, where that state puts it, and the fence of its last run."""
    driven.add(job_id=JOB, data='"payload"')
    driven.client.sadd(driven.key(f"deps:{JOB}"), driven.key("child"))
    run = driven.start_one()
    if state == "active":
        return run
    driven.fail(run, max_attempts=2)  # every state is reached after a first run, so that its token exists
    run = driven.start_one()
    hash_key = driven.key(f"job:{JOB}")
    if state == "completed":
        driven.complete(run)
    elif state == "failed":
        driven.fail(run)
    elif state == "waiting":
        driven.release(run)
    else:
        driven.client.xack(driven.key("stream"), "workers", run.entry_id)
        driven.client.xdel(driven.key("stream"), run.entry_id)
        driven.client.hset(hash_key, "state", state)
        places = {
            "delayed": driven.now,
            "prioritized": 2**42,
            "suspended": driven.now + FAR,
            "group-waiting": 1,
        }
        sets = {"delayed": "scheduled", "prioritized": "scheduled", "group-waiting": "groupq:g"}
        if state in places:
            driven.client.zadd(driven.key(sets.get(state, "suspended")), {JOB: places[state]})
    return run


def start(driven: DrivenQueue, run: Started) -> bool:
    """The job's id turns up as a ready entry: its own when it waits, else the echo of an earlier life."""
    if driven.state(JOB) != "waiting":
        driven.client.xadd(driven.key("stream"), {"jobId": JOB, "name": "n"})
    for member, score in driven.members("scheduled").items():
        # Promotion is a command of its own: here nothing is due.
        driven.client.zadd(driven.key("scheduled"), {member: score + driven.now + FAR})
    return JOB in driven.step(5, consumer="c2").ids


def last_child_completes(driven: DrivenQueue, run: Started) -> bool:
    driven.add(job_id="child", parent=JOB, parent_queue=driven.name)
    entries = driven.client.xrange(driven.key("stream"))
    entry_id = next(entry for entry, fields in entries if fields[b"jobId"] == b"child")
    driven.hash("child", state="active", processedOn=driven.now, parentId=JOB, parentQueue=driven.name)
    driven.client.hset(driven.key("job:child"), "x-py:run", "t")
    row = ["child", "t", driven.now, entry_id.decode(), "null", False]
    assert driven.step(complete=[row]).outcomes == [1]
    return True


def clean(driven: DrivenQueue, state: str) -> bool:
    ids: list[bytes] = driven.call("clean", state=state, grace_ms=0, limit=10)[1]
    return ids == [JOB.encode()]


def time_out(driven: DrivenQueue, run: Started) -> bool:
    """The job stands among those whose time is over; a foreign runtime may have left it there."""
    driven.client.zadd(driven.key("suspended"), {JOB: driven.now - 1})
    if driven.state(JOB) in ("delayed", "prioritized"):
        driven.client.zadd(driven.key("scheduled"), {JOB: driven.now + FAR})
    driven.promote_due(limit=0, prioritized_limit=0)
    return driven.state(JOB) == "failed"


COMMANDS: dict[str, Callable[[DrivenQueue, Started], bool]] = {
    "start": start,
    "complete": lambda driven, run: driven.complete(run) == [1],
    "fail": lambda driven, run: driven.fail(run)[0][0] == 6,
    "retry": lambda driven, run: driven.fail(run, max_attempts=9, delay=FAR)[0][0] == 5,
    "release": lambda driven, run: driven.release(run) == [1],
    "extend": lambda driven, run: driven.extend(run) == [1],
    "recover_stalled": lambda driven, run: bool(driven.recover_stalled()),
    "recover_orphans": lambda driven, run: bool(driven.recover_orphans()),
    "promote_due": lambda driven, run: driven.promote_due()[0] == 1,
    "last child completes": last_child_completes,
    "move_to_delayed": lambda driven, run: (
        driven.call("move_to_delayed", rows=[[*run.fence, run.entry_id, driven.now + FAR, "{}"]])[2] == [1]
    ),
    "suspend": lambda driven, run: (
        driven.call("suspend", rows=[[*run.fence, run.entry_id, "why", FAR]])[2] == [1]
    ),
    "signal": lambda driven, run: driven.call("signal", id=JOB, name="go", data="", idem="i") == [b"resumed"],
    "time out": time_out,
    "revoke": lambda driven, run: driven.call("revoke", id=JOB)[0] == b"revoked",
    "promote_job": lambda driven, run: driven.call("promote_job", id=JOB) == [b"ok"],
    "change_priority": lambda driven, run: driven.call("change_priority", id=JOB, priority=3) == [b"ok"],
    "change_delay": lambda driven, run: driven.call("change_delay", id=JOB, delay_ms=FAR) == [b"ok"],
    "retry_job": lambda driven, run: driven.call("retry_job", id=JOB) == [b"ok"],
    "retry_jobs": lambda driven, run: driven.call("retry_jobs", count=False)[1] == 1,
    "clean completed": lambda driven, run: clean(driven, "completed"),
    "clean failed": lambda driven, run: clean(driven, "failed"),
    "drain": lambda driven, run: driven.call("drain", delayed=False)[1] == 1,
    "drain delayed": lambda driven, run: driven.call("drain", delayed=True)[1] == 1,
}


@pytest.mark.parametrize(("state", "command"), sorted(LEGAL))
def test_legal_transition_leads_where_the_wire_format_says(
    driven: DrivenQueue, state: str, command: str
) -> None:
    run = make(driven, state)
    if command == "recover_stalled":
        driven.pass_time(60_000)
    assert COMMANDS[command](driven, run)
    assert driven.state(JOB) == LEGAL[state, command]


ILLEGAL = sorted(set(itertools.product(STATES, COMMANDS)) - set(LEGAL))


@pytest.mark.parametrize(("state", "command"), ILLEGAL)
def test_illegal_transition_is_refused_and_changes_nothing(
    driven: DrivenQueue, state: str, command: str
) -> None:
    run = make(driven, state)
    driven.pass_time(60_000 if command == "recover_stalled" else 0)
    job, places = driven.job(JOB), placed(driven)
    COMMANDS[command](driven, run)
    assert driven.state(JOB) == state
    after = driven.job(JOB)
    if command == "signal" and state not in ("completed", "failed"):
        # The next wait takes it up.
        assert json.loads(after.pop("x-py:signals"))[0]["name"] == "go"
    if command == "last child completes":
        # A parent counts its finished children in any state.
        after = {name: value for name, value in after.items() if not name.startswith("dep")}
    elif command == "revoke":
        # Whoever runs the job, or retries it, is told.
        assert after.pop("revoked") == "1"
    assert after == job
    assert placed(driven) == places


def placed(driven: DrivenQueue) -> list[str]:
    """Every structure that holds the job."""
    sets = ("scheduled", "completed", "failed", "suspended", "groupq:g", "x-py:active:c1")
    found = [name for name in sets if JOB in driven.members(name)]
    found += [name for name in ("lifo", "priority") if JOB in driven.elements(name)]
    found += ["stream"] * driven.entries().count(JOB)
    found += [f"pending:{owner}" for owner in driven.pending().values()]
    return found


def test_every_pair_is_either_legal_or_tried_in_vain() -> None:
    assert len(ILLEGAL) + len(LEGAL) == len(STATES) * len(COMMANDS)
