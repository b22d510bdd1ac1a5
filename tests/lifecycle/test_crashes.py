"""Processes that die: replaced, with back-off, until it is clear that it cannot help."""

from __future__ import annotations

import itertools
import os
import signal

import pytest

from tests.lifecycle.conftest import Supervise
from tests.lifecycle.supervised import is_gone, wait_until


@pytest.mark.parametrize("name", ["SIGKILL", "SIGSEGV"])
def test_actor_killed_in_mid_job_is_replaced_and_the_log_says_what_it_ran(
    supervise: Supervise, name: str
) -> None:
    supervised = supervise().started()
    victim, other = supervised.pid_of("actor-0-0"), supervised.pid_of("actor-0-1")
    supervised.order("actor-0-0", "begin", 42)
    supervised.wait_for("actor-0-0", "did")
    supervised.order("actor-0-0", "die", name)
    again = supervised.wait_for("actor-0-0", "ready", count=2)
    assert again.details == [2]
    line = supervised.wait_for_log(
        f"actor 0.0 (pid {victim}) was killed by {name} while running job 42 of 'q'"
    )
    assert "the next one starts in 0.1 s" in line
    assert supervised.pid_of("actor-0-1") == other
    (harvest,) = supervised.journal("gateway-0", "harvested")
    assert harvest.details == [0, 1, signal.Signals[name].value, "NONE"]
    # The rings belong to the dead until the gateway has accounted for them.
    assert harvest.time < supervised.journal("actor-0-0", "started")[1].time


def test_successor_waits_until_the_gateway_has_accounted_for_the_dead(supervise: Supervise) -> None:
    supervised = supervise(procs=2, cells=2).started()
    supervised.order("gateway-0", "neglect")
    supervised.order("actor-0-0", "die", "SIGKILL")
    assert "the next one starts in 0.1 s" in supervised.wait_for_log("was killed by SIGKILL")
    # Three restarts of the gateway's neighbour, each with at least that delay: the time has come, and has
    # passed.
    for count in range(2, 5):
        supervised.order("actor-1-0", "die", "SIGKILL")
        supervised.wait_for("actor-1-0", "ready", count=count)
    assert len(supervised.journal("actor-0-0", "started")) == 1
    supervised.order("gateway-0", "resume")
    supervised.wait_for("actor-0-0", "started", count=2)


def test_restarts_of_a_process_that_dies_at_once_are_further_and_further_apart(supervise: Supervise) -> None:
    supervised = supervise(procs=1, restart_intensity=3, restart_backoff=0.1)
    supervised.prepare("actor-0-0-always", "exit", 7)
    supervised.start()
    assert supervised.wait() == 1
    starts = [entry.time for entry in supervised.journal("actor-0-0", "started")]
    gaps = [later - earlier for earlier, later in itertools.pairwise(starts)]
    assert len(gaps) == 3
    assert gaps[0] >= 0.1
    assert gaps[1] >= 0.2
    assert gaps[2] >= 0.4


def test_crash_loop_ends_in_one_clear_line_and_status_1(supervise: Supervise) -> None:
    supervised = supervise(procs=2, restart_intensity=2, restart_backoff=0.01).started()
    for count in range(1, 4):
        supervised.wait_for("actor-0-0", "ready", count=count)
        supervised.order("actor-0-0", "exit", 9)
    assert supervised.wait() == 1
    line = supervised.wait_for_log("giving up")
    assert "actor 0.0 (pid" in line
    assert "exited with status 9" in line
    assert "more than 2 times in 30 s" in line
    assert "Traceback" not in supervised.log()
    # The others were let finish: the gateway drained.
    assert supervised.journal("gateway-0", "draining")
    assert supervised.tree() == []


def test_jobs_that_crash_their_processes_delay_restarts_but_do_not_end_the_supervisor(
    supervise: Supervise,
) -> None:
    supervised = supervise(procs=1, restart_intensity=1, restart_backoff=0.01).started()
    for count in range(1, 5):
        supervised.wait_for("actor-0-0", "ready", count=count)
        supervised.order("actor-0-0", "begin", count)
        supervised.order("actor-0-0", "die", "SIGSEGV")
    supervised.wait_for("actor-0-0", "ready", count=5)
    supervised.signal(signal.SIGTERM)
    assert supervised.wait() == 0


def test_actor_killed_by_the_gateway_for_a_job_s_timeout_is_replaced_at_once(supervise: Supervise) -> None:
    supervised = supervise(procs=1, restart_intensity=0, restart_backoff=5.0).started()
    supervised.order("actor-0-0", "begin", 7)
    supervised.order("gateway-0", "kill", 0)
    supervised.wait_for("actor-0-0", "ready", count=2)
    assert "on purpose (job timeout)" in supervised.wait_for_log("was killed by SIGKILL")


def test_gateway_that_dies_is_replaced_and_the_actors_stay(supervise: Supervise) -> None:
    supervised = supervise().started()
    actors = [supervised.pid_of("actor-0-0"), supervised.pid_of("actor-0-1")]
    first = supervised.journal("gateway-0", "started")[0]
    supervised.order("gateway-0", "die", "SIGKILL")
    second = supervised.wait_for("gateway-0", "ready", count=2)
    died = next(entry for entry in supervised.journal("gateway-0", "did") if entry.details == ["die"])
    assert second.time - died.time < 2.0
    started = supervised.journal("gateway-0", "started")[1]
    assert (started.details[0], started.details[1]) == (2, first.details[1])  # next generation, same consumer
    assert [supervised.pid_of("actor-0-0"), supervised.pid_of("actor-0-1")] == actors


def test_gateway_that_never_reaches_the_server_ends_the_supervisor_with_its_own_line(
    supervise: Supervise,
) -> None:
    supervised = supervise()
    supervised.prepare("gateway-0-start", "unreachable")
    supervised.start()
    assert supervised.wait() == 1
    assert "stand-in gateway: cannot reach the server" in supervised.log()
    assert len(supervised.journal("gateway-0", "started")) == 1
    assert supervised.tree() == []


def test_gateway_that_lost_the_server_later_is_retried_without_end(supervise: Supervise) -> None:
    supervised = supervise(restart_intensity=1, restart_backoff=0.01).started()
    supervised.prepare("gateway-0-always", "unreachable")
    supervised.order("gateway-0", "die", "SIGKILL")
    supervised.wait_for("gateway-0", "started", count=5)
    (supervised.directory / "orders" / "gateway-0-always").unlink()
    supervised.wait_for("gateway-0", "ready", count=2)


def test_exception_in_a_process_becomes_one_log_line_and_status_1(supervise: Supervise) -> None:
    supervised = supervise(procs=1).started()
    supervised.order("actor-0-0", "raise")
    line = supervised.wait_for_log("the stand-in was told to raise")
    assert "[actor 0.0 " in line
    assert "unexpected RuntimeError" in line
    supervised.wait_for_log("exited with status 1")
    assert "Traceback" not in supervised.log()


def test_subprocesses_of_a_dead_actor_die_with_it(supervise: Supervise) -> None:
    supervised = supervise(procs=1).started()
    supervised.order("actor-0-0", "subprocess")
    orphan = supervised.wait_for("actor-0-0", "subprocess").details[0]
    assert not is_gone(orphan)
    supervised.order("actor-0-0", "die", "SIGKILL")
    wait_until(lambda: is_gone(orphan), "the actor's subprocess is gone")
    supervised.wait_for("actor-0-0", "ready", count=2)


def test_signals_meant_for_the_supervisor_do_not_touch_its_children(supervise: Supervise) -> None:
    supervised = supervise(procs=1).started()
    for label in ("actor-0-0", "gateway-0"):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(supervised.pid_of(label), number)
    supervised.order("actor-0-0", "done", 1)
    supervised.order("gateway-0", "resume")
    assert len(supervised.journal(event="started")) == 3  # probe, gateway, actor
