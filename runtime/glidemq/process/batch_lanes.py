"""Which jobs in an actor's hands run together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence


class BatchLanes:
    """The batches that one actor process runs, as it has reported them.

    Written by: the actor's channel. Read by: those who want to know how many more jobs could start.
    """

    def __init__(self) -> None:
        self._members: dict[
            int, tuple[str, set[int]]
        ] = {}  # by job: its queue and the batch's unfinished jobs
        self._lanes: Counter[str] = Counter()
        self._jobs: Counter[str] = Counter()

    def started(self, queue: str, sequences: Sequence[int]) -> None:
        """These jobs have started together."""
        batch = set(sequences)
        self._lanes[queue] += 1
        self._jobs[queue] += len(batch)
        for seq in batch:
            self._members[seq] = (queue, batch)

    def ended(self, seq: int) -> None:
        """A job is out of the actor's hands; with the last of its batch a lane is free."""
        queue, batch = self._members.pop(seq, ("", set[int]()))
        if batch:
            batch.discard(seq)
            self._jobs[queue] -= 1
            self._lanes[queue] -= not batch

    def running(self, queue: str) -> tuple[int, int]:
        """How many batches of a queue run, and how many jobs are in them."""
        return self._lanes[queue], self._jobs[queue]

    @property
    def idle(self) -> bool:
        """True while no batch runs."""
        return not self._members

    def companions(self, seq: int) -> tuple[int, ...]:
        """The unfinished jobs of a job's batch, itself included; the job alone, if it runs in none."""
        members = self._members.get(seq)
        return tuple(members[1]) if members else (seq,)

    def clear(self) -> None:
        """The process is dead."""
        self._members.clear()
        self._lanes.clear()
        self._jobs.clear()
