"""The ways in which a run ends, each as one call of the library."""

from __future__ import annotations

from collections.abc import Callable

from tests.lua.driven_queue import DrivenQueue, Started

DAY_MS = 86_400_000


def completes(queue: DrivenQueue, job: Started) -> None:
    queue.complete(job, retain=True)


def retries(queue: DrivenQueue, job: Started) -> None:
    queue.fail(job, max_attempts=3, delay=DAY_MS)


def fails(queue: DrivenQueue, job: Started) -> None:
    queue.fail(job, retain=True)


def is_given_back(queue: DrivenQueue, job: Started) -> None:
    queue.release(job)
    queue.call("pause")


def crashes_for_the_last_time(queue: DrivenQueue, job: Started) -> None:
    queue.release(job, crash="it died", max_crashes=1)


def stalls(queue: DrivenQueue, job: Started) -> None:
    queue.pass_time(31_000)
    assert queue.recover_stalled(max_stalled=0) == {job.id: "failed"}


def is_removed(queue: DrivenQueue, job: Started) -> None:
    queue.call("remove", id=job.id)


def is_revoked(queue: DrivenQueue, job: Started) -> None:
    queue.call("revoke", id=job.id)
    queue.complete(job)


def is_suspended(queue: DrivenQueue, job: Started) -> None:
    queue.call("suspend", rows=[[*job.fence, job.entry_id, False, 0]])


def moves_on(queue: DrivenQueue, job: Started) -> None:
    queue.call("move_to_delayed", rows=[[*job.fence, job.entry_id, queue.now + DAY_MS, False]])


def waits_for_children(queue: DrivenQueue, job: Started) -> None:
    queue.client.sadd(queue.key(f"deps:{job.id}"), queue.key("77"))
    queue.call("move_to_waiting_children", rows=[[*job.fence, job.entry_id]])


ENDS: list[Callable[[DrivenQueue, Started], None]] = [
    completes,
    retries,
    fails,
    crashes_for_the_last_time,
    stalls,
    is_removed,
    is_revoked,
    is_suspended,
    moves_on,
    waits_for_children,
]
