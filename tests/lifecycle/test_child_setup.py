"""What a child has and has not from its supervisor."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from tests.lifecycle.conftest import Supervise


def targets_of(pid: int) -> Counter[str]:
    """What the descriptors of a process refer to, standard input and output left out."""
    found = Counter[str]()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        if int(entry.name) > 2:
            found[str(entry.readlink()).removesuffix(" (deleted)")] += 1
    return found


def bells_of(pid: int) -> set[str]:
    """The eventfds of a process, by the number that the kernel gives each."""
    found: set[str] = set()
    for entry in Path(f"/proc/{pid}/fdinfo").iterdir():
        found |= {line for line in entry.read_text().splitlines() if line.startswith("eventfd-id")}
    return found


@pytest.mark.parametrize("preload", [False, True])
def test_children_hold_exactly_the_descriptors_that_they_need(supervise: Supervise, preload: bool) -> None:
    supervised = supervise(procs=2, max_procs=3, preload=preload).started()
    actors = [supervised.pid_of("actor-0-0"), supervised.pid_of("actor-0-1")]
    gateway = supervised.pid_of("gateway-0")
    own = {"/memfd:glidemq-actor": 1, "/memfd:glidemq-actor-in": 1, "/memfd:glidemq-actor-out": 1}
    for pid in actors:
        # The stand-ins map the board: its own page, and the gateway's; each mapping holds a duplicate.
        assert targets_of(pid) == {"/memfd:glidemq-status": 3, **own, "anon_inode:[eventfd]": 3}
    all_of_the_cell = {name: 3 * count for name, count in own.items()}
    assert targets_of(gateway) == {"/memfd:glidemq-status": 2, **all_of_the_cell, "anon_inode:[eventfd]": 5}
    first, second = map(bells_of, actors)
    assert len(first & second) == 2  # the gateway's and the supervisor's
    assert first | second < bells_of(gateway)


def test_child_is_set_up_before_its_own_code_runs(supervise: Supervise) -> None:
    supervised = supervise(procs=2, pin=True, import_path="/no/such/place").started()
    supervised.order("actor-0-1", "look")
    looked = supervised.wait_for("actor-0-1", "looked")
    seen = looked.details[0]
    assert seen["group"] == looked.pid
    assert seen["parent"] == supervised.pid
    assert seen["path"] == "/no/such/place"
    allowed = sorted(os.sched_getaffinity(0))
    assert seen["cpus"] == [allowed[1 % len(allowed)]]
    handlers = seen["handlers"]
    assert all("shrug_off" in handlers[name] for name in ("SIGTERM", "SIGINT", "SIGHUP"))
    defaults = {handlers[name] for name in ("SIGCHLD", "SIGUSR1", "SIGQUIT", "SIGTTIN", "SIGTTOU")}
    assert defaults == {repr(signal.SIG_DFL)}
    assert Path(f"/proc/{looked.pid}/comm").read_text().strip() == "gmq actor 0.1"
    assert str(Path(f"/proc/{looked.pid}/fd/0").readlink()) == "/dev/null"


@pytest.mark.parametrize("preload", [False, True])
def test_programs_that_a_job_starts_inherit_no_descriptor(supervise: Supervise, preload: bool) -> None:
    supervised = supervise(procs=1, preload=preload).started()
    for pid in (supervised.pid_of("actor-0-0"), supervised.pid_of("gateway-0")):
        for entry in Path(f"/proc/{pid}/fdinfo").iterdir():
            flags = int(entry.read_text().split("flags:")[1].split()[0], 8)
            assert int(entry.name) <= 2 or flags & os.O_CLOEXEC, (
                entry,
                Path(f"/proc/{pid}/fd/{entry.name}").readlink(),
            )


def test_children_block_no_signals(supervise: Supervise) -> None:
    supervised = supervise(procs=1, preload=True).started()
    for pid in supervised.tree():
        status = Path(f"/proc/{pid}/status").read_text().splitlines()
        assert [line.split()[1] for line in status if line.startswith("SigBlk")] == ["0" * 16]


def test_supervisor_opens_no_descriptor_anew_for_each_child(supervise: Supervise) -> None:
    supervised = supervise(procs=1, restart_backoff=0.01).started()
    before = targets_of(supervised.pid)
    for count in range(1, 4):
        supervised.order("actor-0-0", "begin", count)
        supervised.order("actor-0-0", "die", "SIGKILL")
        supervised.wait_for("actor-0-0", "ready", count=count + 1)
    supervised.signal(signal.SIGHUP)
    supervised.wait_for_log("reloaded: ")
    assert targets_of(supervised.pid) == before
