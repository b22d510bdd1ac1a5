"""From start to exit status, when all goes well and when somebody is impatient."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.lifecycle.conftest import Supervise
from tests.lifecycle.supervised import is_gone, wait_until


def test_start_forks_a_gateway_and_the_wanted_actors_and_says_that_all_are_ready(
    supervise: Supervise,
) -> None:
    supervised = supervise(procs=3).started()
    started = {
        entry.label: entry.details for entry in supervised.journal(event="started") if entry.label != "probe"
    }
    assert sorted(started) == ["actor-0-0", "actor-0-1", "actor-0-2", "gateway-0"]
    assert started["gateway-0"][2] == ["q"]
    assert "ready: 4 processes are up" in supervised.log()
    assert len(supervised.tree()) == 5


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_drains_and_exits_with_0(supervise: Supervise, number: signal.Signals) -> None:
    supervised = supervise().started()
    supervised.order("actor-0-1", "begin", 7)
    supervised.wait_for("actor-0-1", "did")
    supervised.signal(number)
    supervised.wait_for("gateway-0", "draining")
    supervised.order("actor-0-1", "end")
    assert supervised.wait() == 0
    assert supervised.tree() == []
    # The gateway was stopped last, after everything that ran was accounted for.
    assert supervised.journal()[-1].label == "gateway-0"
    assert {entry.details[3] for entry in supervised.journal("gateway-0", "harvested")} == {"NONE"}


def test_drain_deadline_kills_what_still_runs_and_has_it_accounted_for(supervise: Supervise) -> None:
    supervised = supervise(drain_timeout=0.4).started()
    supervised.order("actor-0-0", "begin", 7)
    supervised.wait_for("actor-0-0", "did")
    before = time.monotonic()
    supervised.signal(signal.SIGTERM)
    assert supervised.wait() == 0
    assert 0.4 <= time.monotonic() - before < 0.4 + 2.0
    harvested = {
        entry.details[0]: entry.details[2:] for entry in supervised.journal("gateway-0", "harvested")
    }
    assert harvested == {0: [signal.SIGKILL, "DRAIN_DEADLINE"], 1: [0, "NONE"]}
    assert "killing actor 0.0 in mid-job" in supervised.log()


def test_second_signal_stops_now_though_the_deadline_is_far(supervise: Supervise) -> None:
    supervised = supervise(drain_timeout=60.0).started()
    supervised.order("actor-0-0", "begin", 7)
    supervised.wait_for("actor-0-0", "did")
    supervised.signal(signal.SIGTERM)
    supervised.wait_for("gateway-0", "draining")
    supervised.signal(signal.SIGTERM)
    assert supervised.wait(timeout_s=3.0) == 0
    assert supervised.tree() == []


def test_sigquit_stops_now(supervise: Supervise) -> None:
    supervised = supervise(drain_timeout=60.0).started()
    supervised.order("actor-0-0", "begin", 7)
    supervised.wait_for("actor-0-0", "did")
    supervised.signal(signal.SIGQUIT)
    assert supervised.wait(timeout_s=3.0) == 0
    assert supervised.tree() == []


def test_gateway_that_will_not_stop_is_killed_and_the_status_says_so(supervise: Supervise) -> None:
    supervised = supervise(drain_timeout=0.2).started()
    supervised.order("gateway-0", "disobey")
    supervised.signal(signal.SIGTERM)
    assert supervised.wait(timeout_s=4.0) == 1
    assert "a gateway does not stop and is killed" in supervised.log()
    assert supervised.tree() == []


def test_gateway_that_dies_while_draining_is_replaced_by_one_that_drains(supervise: Supervise) -> None:
    supervised = supervise().started()
    supervised.order("actor-0-0", "begin", 7)
    supervised.wait_for("actor-0-0", "did")
    supervised.signal(signal.SIGTERM)
    supervised.wait_for("gateway-0", "draining")
    supervised.order("gateway-0", "die", "SIGKILL")
    supervised.wait_for("gateway-0", "draining", count=2)
    supervised.order("actor-0-0", "end")
    assert supervised.wait() == 0


def test_signal_before_anything_is_ready_ends_the_start(supervise: Supervise) -> None:
    supervised = supervise()
    supervised.write_app(error="hangs")
    supervised.start()
    supervised.wait_for("probe", "started")
    supervised.signal(signal.SIGTERM)
    assert supervised.wait(timeout_s=5.0) == 0
    assert supervised.tree() == []


def test_signal_while_the_gateway_still_connects_ends_the_start(supervise: Supervise) -> None:
    supervised = supervise(drain_timeout=60.0)
    supervised.prepare("gateway-0-start", "wait")
    supervised.start()
    supervised.wait_for("gateway-0", "did")
    supervised.signal(signal.SIGTERM)
    assert supervised.wait(timeout_s=5.0) == 0
    assert supervised.tree() == []


def test_deadline_that_finds_no_gateway_says_that_leases_were_left(supervise: Supervise) -> None:
    supervised = supervise(
        procs=1, drain_timeout=0.6, restart_backoff=30.0, restart_backoff_max=30.0
    ).started()
    supervised.order("actor-0-0", "begin", 7)
    supervised.order("gateway-0", "die", "SIGKILL")
    supervised.wait_for_log("gateway 0 (pid")
    supervised.signal(signal.SIGTERM)
    assert supervised.wait(timeout_s=5.0) == 1


def test_signal_while_an_actor_imports_does_not_wait_for_the_import(supervise: Supervise) -> None:
    supervised = supervise(procs=1)
    supervised.prepare("actor-0-0-start", "sleep", 3600)
    supervised.start()
    supervised.wait_for("actor-0-0", "started")
    supervised.wait_for("gateway-0", "ready")
    supervised.signal(signal.SIGTERM)
    assert supervised.wait(timeout_s=5.0) == 0


def test_supervisor_has_one_thread_no_server_client_and_no_event_loop(supervise: Supervise) -> None:
    supervised = supervise().started()
    process = Path(f"/proc/{supervised.pid}")
    assert len(list((process / "task").iterdir())) == 1
    mapped = (process / "maps").read_text()
    assert "glide_ffi" not in mapped
    assert "uvloop" not in mapped
    assert "/_asyncio" not in mapped
    targets = [str(fd.readlink()) for fd in (process / "fd").iterdir()]
    assert not [target for target in targets if target.startswith("socket:") or "eventpoll" in target]


def test_status_table_shows_every_process_and_its_job(supervise: Supervise) -> None:
    supervised = supervise().started()
    supervised.order("actor-0-1", "begin", 42)
    supervised.wait_for("actor-0-1", "did")
    supervised.signal(signal.SIGUSR1)
    line = supervised.wait_for_log("actor 0.1 sync")
    assert str(supervised.pid_of("actor-0-1")) in line
    assert " ready " in line
    assert "job 42 of 'q'" in line
    gateway = supervised.wait_for_log("gateway 0  ")
    assert str(supervised.pid_of("gateway-0")) in gateway
    assert "done/s" in supervised.log()


def test_status_table_in_json_carries_the_columns_as_members(supervise: Supervise) -> None:
    import json

    supervised = supervise(log_format="json", procs=1).started()
    supervised.signal(signal.SIGUSR1)
    supervised.wait_for_log('"process": "actor 0.0 sync"')
    records = [json.loads(line) for line in supervised.log().splitlines()]
    rows = {record["status"]["process"]: record["status"] for record in records if "status" in record}
    assert set(rows) == {"supervisor", "gateway 0", "actor 0.0 sync"}
    assert rows["actor 0.0 sync"]["pid"] == supervised.pid_of("actor-0-0")
    assert rows["actor 0.0 sync"]["rss_mb"] > 1


def test_sigkill_of_the_supervisor_leaves_no_process_within_two_seconds(supervise: Supervise) -> None:
    supervised = supervise(procs=2).started()
    supervised.order("actor-0-0", "begin", 7)
    supervised.order("actor-0-1", "subprocess")
    subprocess_pid = supervised.wait_for("actor-0-1", "subprocess").details[0]
    assert not is_gone(subprocess_pid)
    supervised.signal(signal.SIGKILL)
    supervised.wait()
    wait_until(lambda: supervised.tree() == [], "all processes are gone", timeout_s=2.0)
    assert supervised.journal("gateway-0", "orphaned")


def test_gateway_that_hangs_when_its_supervisor_is_killed_is_ended_by_the_kernel(
    supervise: Supervise,
) -> None:
    supervised = supervise(procs=1, beat=1.0).started()
    supervised.order("gateway-0", "hang")
    supervised.signal(signal.SIGKILL)
    supervised.wait()
    wait_until(lambda: supervised.tree() == [], "all processes are gone", timeout_s=2.2)
    assert not supervised.journal("gateway-0", "orphaned")
