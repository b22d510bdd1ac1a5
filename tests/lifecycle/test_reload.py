"""SIGHUP: new code one process at a time, and never for a broken app."""

from __future__ import annotations

import signal

from tests.lifecycle.conftest import Supervise
from tests.lifecycle.supervised import Supervised, wait_until

SYNC = {"name": "q", "role": "sync", "concurrency": 1}
ASYNC = {"name": "infer", "role": "async", "concurrency": 50}


def actor_starts(supervised: Supervised) -> list[str]:
    return [entry.label for entry in supervised.journal(event="started") if entry.label.startswith("actor")]


def test_sighup_replaces_the_actors_one_at_a_time_and_keeps_the_gateway(supervise: Supervise) -> None:
    supervised = supervise(procs=3).started()
    gateway = supervised.pid_of("gateway-0")
    supervised.signal(signal.SIGHUP)
    supervised.wait_for_log("reloaded: ")
    assert supervised.pid_of("gateway-0") == gateway
    # From each one's "told" to its successor's "ready" nobody else was told to go.
    events = [
        (entry.label, entry.event)
        for entry in supervised.journal()
        if entry.label.startswith("actor") and (entry.event == "told" or entry.details == [2])
    ]
    labels = ["actor-0-0", "actor-0-1", "actor-0-2"]
    assert events == [(label, event) for label in labels for event in ("told", "ready")]


def test_rolling_waits_for_a_running_job_for_as_long_as_it_takes(supervise: Supervise) -> None:
    supervised = supervise(procs=2, drain_timeout=0.1, kill_grace=0.1).started()
    first = supervised.pid_of("actor-0-0")
    supervised.order("actor-0-0", "begin", 7)
    supervised.wait_for("actor-0-0", "did")
    supervised.signal(signal.SIGHUP)
    supervised.wait_for_log("actor 0.0 (pid")
    # Longer than every bound that applies to a shutdown: three beats of the supervisor's loop.
    seen = len(supervised.journal())
    supervised.order("actor-0-0", "done", 1)
    supervised.order("actor-0-1", "done", 1)
    wait_until(lambda: len(supervised.journal()) >= seen + 2, "both actors still work")
    assert supervised.pid_of("actor-0-0") == first
    supervised.order("actor-0-0", "end")
    supervised.wait_for_log("reloaded: ")
    assert [entry.details[2:] for entry in supervised.journal("gateway-0", "harvested")] == [[0, "NONE"]] * 2


def test_broken_app_is_refused_in_one_line_and_the_old_processes_go_on(supervise: Supervise) -> None:
    supervised = supervise().started()
    pids = sorted(supervised.tree())
    supervised.write_app(error="stand:in cannot be imported: no module named 'numpy'")
    supervised.signal(signal.SIGHUP)
    line = supervised.wait_for_log("not reloaded")
    assert "old processes go on: stand:in cannot be imported: no module named 'numpy'" in line
    assert "Traceback" not in supervised.log()
    wait_until(lambda: sorted(supervised.tree()) == pids, "only the old processes are there")
    supervised.write_app()
    supervised.signal(signal.SIGHUP)
    supervised.wait_for_log("reloaded: ")


def test_app_that_kills_its_importer_is_refused(supervise: Supervise) -> None:
    supervised = supervise(procs=1).started()
    supervised.write_app(error="dies")
    supervised.signal(signal.SIGHUP)
    assert "ended the process that tried it" in supervised.wait_for_log("not reloaded")
    assert len(actor_starts(supervised)) == 1


def test_app_that_hangs_at_import_is_refused_at_the_deadline(supervise: Supervise) -> None:
    supervised = supervise(procs=1, start_timeout=1.0).started()
    supervised.write_app(error="hangs")
    supervised.signal(signal.SIGHUP)
    assert "--start-timeout" in supervised.wait_for_log("not reloaded")
    wait_until(lambda: len(supervised.tree()) == 3, "the hanging probe is gone")


def test_new_queue_is_served_after_a_reload_and_known_to_the_gateways_to_come(supervise: Supervise) -> None:
    supervised = supervise(procs=1).started()
    supervised.write_app(queues=[SYNC, {**SYNC, "name": "mails"}])
    supervised.signal(signal.SIGHUP)
    supervised.wait_for_log("reloaded: ")
    supervised.order("gateway-0", "die", "SIGKILL")
    assert supervised.wait_for("gateway-0", "started", count=2).details[2] == ["mails", "q"]


def test_new_kind_of_processor_is_refused_because_its_memory_is_not_there(supervise: Supervise) -> None:
    supervised = supervise(procs=1).started()
    supervised.write_app(queues=[SYNC, ASYNC])
    supervised.signal(signal.SIGHUP)
    assert "restart the supervisor" in supervised.wait_for_log("not reloaded")
    assert len(actor_starts(supervised)) == 1


def test_app_that_imports_but_does_not_come_up_never_takes_the_old_processes_with_it(
    supervise: Supervise,
) -> None:
    supervised = supervise(procs=2, restart_intensity=1, restart_backoff=0.01).started()
    old = supervised.pid_of("actor-0-1")
    supervised.prepare("actor-0-0-always", "exit", 9)
    supervised.signal(signal.SIGHUP)
    supervised.wait_for("actor-0-0", "started", count=6)  # far beyond the intensity
    assert supervised.pid_of("actor-0-1") == old
    (supervised.directory / "orders" / "actor-0-0-always").unlink()
    supervised.signal(signal.SIGHUP)
    supervised.wait_for_log("reloaded: ")
    assert supervised.pid_of("actor-0-1") != old


def test_sighup_during_a_reload_reloads_once_more(supervise: Supervise) -> None:
    supervised = supervise(procs=1).started()
    supervised.order("actor-0-0", "begin", 7)
    supervised.wait_for("actor-0-0", "did")
    supervised.signal(signal.SIGHUP)
    supervised.wait_for_log("is replaced")
    supervised.signal(signal.SIGHUP)
    wait_until(lambda: len(supervised.journal("probe")) == 3, "the app was looked at again")
    supervised.order("actor-0-0", "end")
    # The successor may already belong to the last reload; either way it ends with nobody older.
    supervised.wait_for_log("reloaded: ")


def test_stop_during_a_reload_stops(supervise: Supervise) -> None:
    supervised = supervise(procs=2).started()
    supervised.order("actor-0-0", "begin", 7)
    supervised.wait_for("actor-0-0", "did")
    supervised.signal(signal.SIGHUP)
    supervised.wait_for_log("is replaced")
    supervised.signal(signal.SIGTERM)
    supervised.wait_for("gateway-0", "draining")
    supervised.order("actor-0-0", "end")
    assert supervised.wait() == 0
    assert sorted(actor_starts(supervised)) == ["actor-0-0", "actor-0-1"]
