"""Processes that hang: killed and replaced, unless they have a reason to be silent."""

from __future__ import annotations

import os
import signal

from tests.lifecycle.conftest import Supervise
from tests.lifecycle.supervised import state_of, wait_until

ASYNC = [{"name": "q", "role": "async", "concurrency": 5}]
BEAT_S = 0.05  # a gateway hangs after 20 beats, an actor after 60


def test_gateway_without_a_beat_is_killed_and_replaced(supervise: Supervise) -> None:
    supervised = supervise(beat=BEAT_S).started()
    hanging = supervised.pid_of("gateway-0")
    supervised.order("gateway-0", "hang")
    assert f"(pid {hanging}) gave no sign of life for 1 s" in supervised.wait_for_log("gateway 0 (pid")
    supervised.wait_for("gateway-0", "ready", count=2)
    supervised.wait_for_log("on purpose (hung)")


def test_event_loop_that_a_coroutine_blocks_is_killed_and_replaced(supervise: Supervise) -> None:
    supervised = supervise(procs=1, beat=BEAT_S)
    supervised.write_app(queues=ASYNC)
    supervised.started()
    supervised.order("actor-0-0", "begin", 7)
    supervised.order("actor-0-0", "hang")
    supervised.wait_for_log("gave no sign of life for 3 s")
    supervised.wait_for("actor-0-0", "ready", count=2)
    assert supervised.journal("gateway-0", "harvested")[0].details[3] == "HUNG"


def test_plain_function_may_hold_its_process_for_as_long_as_it_likes(supervise: Supervise) -> None:
    supervised = supervise(procs=2, beat=BEAT_S).started()
    supervised.order("actor-0-0", "begin", 7)
    supervised.order("actor-0-0", "hang")
    # The other one hangs without a job, later: when it is found, the first has been silent for longer.
    supervised.wait_for("actor-0-0", "did", count=2)
    supervised.order("actor-0-1", "hang")
    supervised.wait_for_log("actor 0.1 (pid")
    supervised.wait_for("actor-0-1", "ready", count=2)
    assert len(supervised.journal("actor-0-0", "started")) == 1


def test_process_that_somebody_has_stopped_is_not_taken_for_hung(supervise: Supervise) -> None:
    supervised = supervise(procs=1, cells=1, beat=BEAT_S)
    supervised.write_app(queues=[*ASYNC, {"name": "s", "role": "sync", "concurrency": 1}])
    supervised.started()
    stopped = supervised.pid_of("gateway-0")
    os.kill(stopped, signal.SIGSTOP)
    wait_until(lambda: state_of(stopped) == "T", "the gateway is stopped")
    # Judged on the same turns as the gateway and by a longer limit, so that the gateway had its chance to
    # be killed.
    labels = [e.label for e in supervised.journal(event="started") if e.details[1:2] == ["async"]]
    supervised.order(labels[0], "hang")
    supervised.wait_for_log("gave no sign of life for 3 s")
    os.kill(stopped, signal.SIGCONT)
    supervised.wait_for(labels[0], "ready", count=2)
    assert len(supervised.journal("gateway-0", "started")) == 1


def test_process_that_never_becomes_ready_is_killed_at_the_deadline(supervise: Supervise) -> None:
    supervised = supervise(procs=1, start_timeout=1.0, restart_backoff=0.01)
    supervised.prepare("actor-0-0-start", "sleep", 3600)
    supervised.start()
    supervised.wait_for_log("did not become ready within 1 s")
    supervised.wait_for("actor-0-0", "ready")


def test_supervisor_that_was_stopped_itself_blames_nobody(supervise: Supervise) -> None:
    supervised = supervise(beat=BEAT_S).started()
    tree = supervised.tree()
    for pid in tree:
        os.kill(pid, signal.SIGSTOP)
    # Longer than the gateway's limit, on a clock of our own.
    clock = wait_until(lambda: sum(state_of(pid) == "T" for pid in tree) == len(tree), "all are stopped")
    assert clock
    import time

    since = time.monotonic()
    wait_until(lambda: time.monotonic() - since > 4.0, "longer than every limit")
    for pid in reversed(tree):
        os.kill(pid, signal.SIGCONT)
    supervised.signal(signal.SIGUSR1)
    supervised.wait_for_log("actor 0.1 sync")
    supervised.order("gateway-0", "resume")
    assert "no sign of life" not in supervised.log()
    assert sorted(supervised.tree()) == sorted(tree)
