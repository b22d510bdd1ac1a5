"""A queue remembers the shortest lock of its running jobs, so that hosts that never saw them look often enough."""

from __future__ import annotations

from typing import Any

import pytest

from glidemq.commands.extend_leases import ExtendLeasesCommand
from tests.lua.driven_queue import DrivenQueue, Started
from tests.lua.executed import execute

GLANCE: dict[str, Any] = {
    "consumer": "c9", "cell": "c9", "stalled_ms": 30_000, "lock_ms": 30_000, "max_stalled": 1, "limit": 10,
    "cursor": "",
}  # fmt: skip


def options(lock_ms: Any) -> str:
    return f'{{"lockDuration":{lock_ms}}}'


def glance(driven: DrivenQueue) -> int:
    """What a call that judges nobody tells: the shortest lock."""
    reply = driven.call("recover_stalled", not_after=0, **GLANCE)
    assert reply[:4] == [b"ok", driven.now, [], b""]
    lock_ms: int = reply[4]
    return lock_ms


def beat(driven: DrivenQueue, job: Started, lock_ms: int | None) -> None:
    fence = (job.id.encode(), job.token.encode(), job.processed_on)
    assert execute(driven, ExtendLeasesCommand(driven.key("meta"), rows=[fence], lock_ms=lock_ms)).codes == [
        1
    ]


@pytest.mark.parametrize("kind", [{}, {"lifo": 1}, {"priority": 5}])
def test_start_of_a_job_with_a_lock_of_its_own_is_known_to_every_host(
    driven: DrivenQueue, kind: dict[str, int]
) -> None:
    driven.add(opts=options(2_000), **kind)
    assert glance(driven) == -1
    driven.start_one()
    assert glance(driven) == 2_000
    assert 61_000 < driven.client.pttl(driven.key("x-py:short-lock")) <= 62_000


def test_shortest_of_several_locks_counts(driven: DrivenQueue) -> None:
    driven.enqueue(*[driven.row(opts=options(lock_ms)) for lock_ms in (5_000, 2_000, 9_000)])
    driven.start(2)
    assert glance(driven) == 2_000
    driven.start_one()
    assert glance(driven) == 2_000


@pytest.mark.parametrize("opts", ["{}", '{"attempts":3}', options(999), options(86_400_001), options('"x"')])
def test_job_without_a_valid_lock_of_its_own_leaves_no_trace(driven: DrivenQueue, opts: str) -> None:
    driven.add(opts=opts)
    driven.start_one()
    assert glance(driven) == -1
    assert "x-py:short-lock" not in driven.suffixes()


def test_heartbeat_keeps_the_lock_known_and_brings_it_back(driven: DrivenQueue) -> None:
    driven.add(opts=options(2_000))
    job = driven.start_one()
    driven.client.pexpire(driven.key("x-py:short-lock"), 5_000)
    beat(driven, job, 2_000)
    assert driven.client.pttl(driven.key("x-py:short-lock")) > 60_000
    driven.client.delete(driven.key("x-py:short-lock"))
    beat(driven, job, None)
    assert glance(driven) == -1
    beat(driven, job, 2_000)
    assert glance(driven) == 2_000
    beat(driven, job, 7_000)
    assert glance(driven) == 2_000


def test_look_at_all_jobs_tells_of_locks_that_it_did_not_see(driven: DrivenQueue) -> None:
    driven.add(opts=options(2_000))
    driven.start_one()
    # Delivered less than a second ago, it is not looked at yet.
    reply = driven.call("recover_stalled", **GLANCE)
    assert (reply[2], reply[4]) == ([], 2_000)


def test_dead_job_is_taken_when_its_own_lock_has_run_out(driven: DrivenQueue) -> None:
    driven.enqueue(driven.row(lifo=1, opts=options(2_000)), driven.row(lifo=1, opts=options(60_000)))
    driven.start(2)
    driven.pass_time(1_999)
    assert driven.recover_stalled() == {}
    driven.pass_time(1)
    assert driven.recover_stalled() == {"1": "stalled"}
    driven.pass_time(57_999)
    assert driven.recover_stalled() == {}
    driven.pass_time(1)
    assert driven.recover_stalled() == {"2": "stalled"}
