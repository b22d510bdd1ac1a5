"""SIGTTIN and SIGTTOU: one actor process more or fewer, within the slots that were reserved."""

from __future__ import annotations

import signal

from tests.lifecycle.conftest import Supervise
from tests.lifecycle.supervised import Supervised, wait_until


def actors_alive(supervised: Supervised) -> int:
    return len(supervised.tree()) - 2  # without supervisor and gateway


def test_sigttin_adds_an_actor_up_to_the_reserve(supervise: Supervise) -> None:
    supervised = supervise(procs=1, max_procs=2).started()
    supervised.signal(signal.SIGTTIN)
    supervised.wait_for("actor-0-1", "ready")
    supervised.signal(signal.SIGTTIN)
    assert "raise --max-procs" in supervised.wait_for_log("slots for sync actors are in use")
    assert actors_alive(supervised) == 2


def test_sigttou_removes_an_actor_once_it_has_finished(supervise: Supervise) -> None:
    supervised = supervise(procs=2).started()
    supervised.order("actor-0-1", "begin", 7)
    supervised.wait_for("actor-0-1", "did")
    supervised.signal(signal.SIGTTOU)
    supervised.wait_for_log("removing actor 0.1 once it has finished")
    assert actors_alive(supervised) == 2
    supervised.order("actor-0-1", "end")
    wait_until(lambda: actors_alive(supervised) == 1, "the actor is gone")
    supervised.signal(signal.SIGTTOU)
    supervised.wait_for_log("the last sync actor stays")
    assert actors_alive(supervised) == 1


def test_removed_actor_s_slot_is_used_again(supervise: Supervise) -> None:
    supervised = supervise(procs=2, max_procs=2).started()
    supervised.signal(signal.SIGTTOU)
    wait_until(lambda: actors_alive(supervised) == 1, "the actor is gone")
    supervised.signal(signal.SIGTTIN)
    assert supervised.wait_for("actor-0-1", "started", count=2).details[0] == 2


def test_removed_actor_that_crashes_is_not_replaced(supervise: Supervise) -> None:
    supervised = supervise(procs=2).started()
    supervised.order("actor-0-1", "begin", 7)
    supervised.wait_for("actor-0-1", "did")
    supervised.signal(signal.SIGTTOU)
    supervised.wait_for_log("removing actor 0.1")
    supervised.order("actor-0-1", "die", "SIGSEGV")
    supervised.wait_for("gateway-0", "harvested")
    supervised.order("actor-0-0", "done", 1)
    assert actors_alive(supervised) == 1


def test_app_with_both_kinds_gets_two_sets_that_scale_together(supervise: Supervise) -> None:
    supervised = supervise(procs=1)
    queues = [
        {"name": "a", "role": "async", "concurrency": 9},
        {"name": "s", "role": "sync", "concurrency": 1},
    ]
    supervised.write_app(queues=queues)
    supervised.started()
    supervised.signal(signal.SIGTTIN)
    for label in ("actor-0-1", "actor-0-3"):
        supervised.wait_for(label, "ready")
    roles = sorted(
        entry.details[1] for entry in supervised.journal(event="started") if entry.label[:5] == "actor"
    )
    assert roles == ["async", "async", "sync", "sync"]


def test_cells_share_the_actors_and_have_a_gateway_each(supervise: Supervise) -> None:
    supervised = supervise(procs=3, cells=2).started()
    labels = sorted(entry.label for entry in supervised.journal(event="started") if entry.label != "probe")
    assert labels == ["actor-0-0", "actor-0-1", "actor-1-0", "gateway-0", "gateway-1"]
    consumers = {
        entry.details[1] for entry in supervised.journal(event="started") if entry.label[:7] == "gateway"
    }
    assert len(consumers) == 2
    supervised.signal(signal.SIGTTIN)
    supervised.wait_for("actor-1-1", "ready")
    supervised.signal(signal.SIGTERM)
    assert supervised.wait() == 0
