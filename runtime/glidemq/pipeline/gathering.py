"""Jobs of one queue that wait for company, since their processor takes several at once."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

from glidemq.clock import monotonic_ns
from glidemq.options.batch import BatchRule

T = TypeVar("T")


class Gathering(Generic[T]):
    """Makes batches: full ones at once, others when their first job has waited long enough.

    Owns: what waits, and the number of batches that may be run beside those that are. Written by: whoever receives
    jobs and runs batches, in one thread.
    """

    def __init__(self, rule: BatchRule, lanes: int) -> None:
        """lanes: how many batches may run at the same time."""
        self._size = rule.size
        self._timeout_ns = rule.timeout_ms * 1_000_000
        self._waiting: deque[tuple[int, T]] = deque()
        self.free_lanes = lanes

    def __len__(self) -> int:
        """How many jobs wait."""
        return len(self._waiting)

    @property
    def room(self) -> int:
        """How many more jobs could start without waiting for a batch to end."""
        return self.free_lanes * self._size - len(self._waiting)

    def add(self, job: T) -> None:
        """Let a job wait for company."""
        self._waiting.append((monotonic_ns(), job))

    def remove(self, job: T) -> bool:
        """Take a job out again; False if it does not wait any more."""
        for entry in self._waiting:
            if entry[1] is job:
                self._waiting.remove(entry)
                return True
        return False

    def next_batch(self, *, hurry: bool = False) -> list[T]:
        """The jobs that are to be run together now, and a lane taken for them; none if it is not time yet.

        hurry: nobody is to be waited for any more.
        """
        if not hurry and self.due_s() != 0:
            return []
        if not self._waiting or self.free_lanes <= 0:
            return []
        self.free_lanes -= 1
        return [self._waiting.popleft()[1] for _ in range(min(self._size, len(self._waiting)))]

    def due_s(self) -> float | None:
        """Seconds until there is a batch if nobody joins; None while nothing waits, or no lane is free."""
        if not self._waiting or self.free_lanes <= 0:
            return None
        if len(self._waiting) >= self._size:
            return 0
        return max(self._waiting[0][0] + self._timeout_ns - monotonic_ns(), 0) / 1e9
