"""A worker made of nothing but the server functions, at times that the test sets."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any

from glidemq.commands.step import ActivatedJob, Activation

CONSUMER = "py-interop"
Retain = Any


class FunctionsWorker:
    """Registers, takes jobs, reports outcomes and leaves: one queue, one consumer, no clock."""

    def __init__(self, call: Callable[..., list[Any]], queue: str) -> None:
        self._call = call
        self._queue = queue
        self._runs = itertools.count(1)
        call("register_worker", queue, consumer=CONSUMER, info_json="{}", ttl_ms=30_000)

    def take(self, now: int, slots: int = 1) -> list[ActivatedJob]:
        """Start up to `slots` jobs."""
        _, _, _, activations, _ = self._step(now, slots)
        return [ActivatedJob.unpack(Activation._make(activation).blob) for activation in activations]

    def complete(self, now: int, jobs: Iterable[ActivatedJob], value: str, retain: Retain = False) -> None:
        rows = [[job.id, job.token, job.processed_on, job.entry_id, value, retain] for job in jobs]
        _, _, outcomes, _, _ = self._step(now, 0, rows)
        assert outcomes == [1] * len(rows)

    def fail(self, now: int, job: ActivatedJob, reason: str, max_attempts: int, delay_ms: int) -> int:
        """Report a failure; returns the row's code."""
        row = [job.id, job.token, job.processed_on, job.entry_id, reason, max_attempts, delay_ms, False]
        _, _, outcomes, *_ = self._call(
            "fail", self._queue, now=now, consumer=CONSUMER, rows=[row], events=True, metrics=True
        )
        code: int = outcomes[0][0]
        return code

    def leave(self) -> None:
        self._call("leave", self._queue, consumer=CONSUMER, cell=CONSUMER)

    def _step(self, now: int, slots: int, rows: list[list[Any]] | None = None) -> list[Any]:
        return self._call(
            "step",
            self._queue,
            now=now,
            consumer=CONSUMER,
            cell=CONSUMER,
            run=f"run{next(self._runs)}",
            complete=rows or [],
            slots=slots,
            ahead=0,
            claimed=[],
            events=True,
            metrics=True,
            max_bytes=1 << 20,
        )
