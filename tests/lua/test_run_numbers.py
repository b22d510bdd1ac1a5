"""The runs of a job that start from the top are numbered on, whoever ended the one before; those that go on are not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from glidemq.commands.signal import SignalCommand
from glidemq.job.record import UNCHARGED_RUNS
from tests.lua.driven_queue import DrivenQueue, Started
from tests.lua.executed import execute
from tests.lua.grouped_queue import GroupedQueue
from tests.lua.run_ends import is_suspended

End = Callable[[DrivenQueue, Started], Any]
GROUP_PAUSE_MS = 500


def number(job: Started) -> int:
    """What readers of the job's stream see of the run."""
    return 1 + job.blob[5] + sum(int(job.extras.get(field, 0)) for field in UNCHARGED_RUNS)


def fails(driven: DrivenQueue, job: Started) -> None:
    driven.fail(job, max_attempts=100)


def is_put_off(driven: DrivenQueue, job: Started) -> None:
    driven.call("fail", rows=[[*job.fence, job.entry_id, "rate limited", -1, 0, False]])


def pauses_its_group(driven: DrivenQueue, job: Started) -> None:
    driven.call(
        "rate_limit_group",
        rows=[[*job.fence, job.entry_id, GROUP_PAUSE_MS, "requeue", "front", "max"]],
    )


def is_retried_by_hand(driven: DrivenQueue, job: Started) -> None:
    driven.fail(job)
    driven.call("retry_job", id=job.id)


def is_retried_by_hand_after_a_crash(driven: DrivenQueue, job: Started) -> None:
    driven.release(job, crash="SIGSEGV", max_crashes=1)
    driven.call("retry_job", id=job.id)


def stalls(driven: DrivenQueue, job: Started) -> None:
    driven.pass_time(31_000)
    assert driven.recover_stalled(max_stalled=100) == {job.id: "stalled"}


def crashes(driven: DrivenQueue, job: Started) -> None:
    driven.release(job, crash="SIGSEGV", max_crashes=100)


def dies_with_others(driven: DrivenQueue, job: Started) -> None:
    driven.release(job, crash=True)


def is_stopped(driven: DrivenQueue, job: Started) -> None:
    driven.release(job, crash="")


OVER_AGAIN: list[End] = [
    fails,
    is_put_off,
    pauses_its_group,
    is_retried_by_hand,
    is_retried_by_hand_after_a_crash,
    stalls,
    crashes,
    dies_with_others,
    is_stopped,
]


def next_run(driven: DrivenQueue) -> Started:
    driven.pass_time(GROUP_PAUSE_MS)
    return driven.start_one()


@pytest.mark.parametrize("end", OVER_AGAIN)
def test_run_that_starts_over_has_the_next_number(grouped: GroupedQueue, end: End) -> None:
    grouped.join()
    numbers: list[int] = []
    for _ in range(3):
        job = next_run(grouped)
        numbers.append(number(job))
        end(grouped, job)
    assert numbers == [1, 2, 3]


def test_numbers_grow_whatever_the_order_of_ends(grouped: GroupedQueue) -> None:
    grouped.join()
    numbers: list[int] = []
    for end in OVER_AGAIN * 2:
        job = next_run(grouped)
        numbers.append(number(job))
        end(grouped, job)
    assert numbers == list(range(1, 2 * len(OVER_AGAIN) + 1))


def test_run_that_goes_on_keeps_the_number(driven: DrivenQueue) -> None:
    driven.add()
    fails(driven, next_run(driven))
    suspended = next_run(driven)
    is_suspended(driven, suspended)
    execute(driven, SignalCommand(driven.key("meta"), job_id="1", name="go", data=b""))
    again = next_run(driven)
    driven.call("move_to_delayed", rows=[[*again.fence, again.entry_id, driven.now, False]])
    assert number(suspended) == number(again) == number(next_run(driven)) == 2


def test_run_that_never_began_counts_as_none(driven: DrivenQueue) -> None:
    driven.add()
    driven.release(next_run(driven))
    assert number(next_run(driven)) == 1
