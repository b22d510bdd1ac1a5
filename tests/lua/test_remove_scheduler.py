"""remove_scheduler: the scheduler goes, its jobs stay."""

from __future__ import annotations

import pytest
from valkey.exceptions import OutOfMemoryError

from tests.lua.driven_queue import DrivenQueue
from tests.lua.schedules import Schedules


def test_scheduler_goes_with_all_that_is_noted_about_it(schedules: Schedules) -> None:
    schedules.upsert("gone", repeatAfterComplete=10)
    schedules.upsert("stays", every=10)
    schedules.tick()
    assert schedules.remove("gone") == "ok"
    assert schedules.text("gone") is None
    assert list(schedules.looks()) == ["stays"]
    assert not schedules.driven.client.exists(schedules.driven.key("x-py:scheduler-runs"))
    assert schedules.remove("gone") == "missing"


def test_job_of_a_removed_scheduler_runs_and_brings_nothing_back(schedules: Schedules) -> None:
    schedules.upsert("r", repeatAfterComplete=10)
    schedules.tick()
    schedules.remove("r")
    job = schedules.driven.start_one()
    assert schedules.driven.complete(job) == [1]
    assert schedules.text("r") is None
    schedules.driven.pass_time(60_000)
    assert schedules.tick_once().next_look_ms == -1


def test_held_lock_makes_it_wait(schedules: Schedules) -> None:
    schedules.upsert("s", every=10)
    schedules.take_lock()
    assert schedules.remove("s") == "busy"
    assert schedules.text("s") is not None


def test_full_server_can_get_rid_of_schedulers_but_takes_none(own_library: DrivenQueue) -> None:
    schedules = Schedules(own_library)
    schedules.upsert("s", every=10)
    own_library.client.config_set("maxmemory", 1)
    with pytest.raises(OutOfMemoryError):
        schedules.upsert("t", every=10)
    with pytest.raises(OutOfMemoryError):
        schedules.tick()
    assert schedules.remove("s") == "ok"
