"""Outcomes of one queue's jobs that the server has not accepted yet, in the order in which they came."""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

from glidemq.pipeline.lease import Lease

# One call of the server library stays short for everybody else (feasibility 20 and 27).
MAX_ROWS_PER_CALL = 100
MAX_BYTES_PER_CALL = 1_048_576


class Outcome(NamedTuple):
    """One job's outcome on its way to the server.

    row: the packed row of the step or fail call. lease: None after a gateway's take-over, when only the row is known.
    receipt: what the work link wants back once the outcome is settled.
    """

    row: bytes
    lease: Lease | None
    receipt: Any


class Return(NamedTuple):
    """One job going back to the queue.

    crash_reason: None when it never started; the signal's name when it crashed its process, which is charged; True
    when its process died with others running too, which makes it a suspect; ENDED_ON_PURPOSE when its host stopped it.
    """

    lease: Lease
    crash_reason: str | bool | None


class Completer:
    """The outbox of one queue.

    Written by: the work link. Read by: the queue pump, which puts back what a broken call may not have delivered.
    """

    def __init__(self) -> None:
        self.completions: deque[Outcome] = deque()
        self.failures: deque[Outcome] = deque()
        self.returns: deque[Return] = deque()

    @property
    def empty(self) -> bool:
        """True when the server knows everything."""
        return not (self.completions or self.failures or self.returns)

    def take_completions(self) -> list[Outcome]:
        """The next batch of completions that fits one call."""
        return _take(self.completions)

    def take_failures(self) -> list[Outcome]:
        """The next batch of failures that fits one call."""
        return _take(self.failures)

    def take_returns(self) -> list[Return]:
        """The next batch of returns that fits one call."""
        returns = self.returns
        return [returns.popleft() for _ in range(min(len(returns), MAX_ROWS_PER_CALL))]


def _take(queue: deque[Outcome]) -> list[Outcome]:
    batch: list[Outcome] = []
    size = 0
    while queue and len(batch) < MAX_ROWS_PER_CALL:
        size += len(queue[0].row)
        if batch and size > MAX_BYTES_PER_CALL:
            break
        batch.append(queue.popleft())
    return batch
