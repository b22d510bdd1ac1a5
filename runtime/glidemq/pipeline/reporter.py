"""Tells the server about failures and returns: rarer than completions, and never waiting for company."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from glidemq.commands.fail import FailCommand
from glidemq.commands.release import ReleaseCommand
from glidemq.pipeline.completer import Completer, Outcome, Return
from glidemq.pipeline.delivery import Delivery
from glidemq.pipeline.pump_context import PumpContext, QueueSettings


class Reporter:
    """Empties one queue's outbox of failures and returns, one call at a time.

    Owns: its task, and the batch that is on the wire. Stops when: the outbox has neither.
    """

    def __init__(
        self,
        settings: Callable[[], QueueSettings],
        context: PumpContext,
        outbox: Completer,
        delivery: Delivery,
        *,
        settle: Callable[[list[Outcome], list[int]], None],
        due: Callable[[int, int], None],
        posted: Callable[[bool], None],
        idle: Callable[[], None],
    ) -> None:
        """settings: the queue's, as they are now. settle: given each batch and its codes. due: (next due, now) in ms.
        idle: the outbox is empty. posted: whether another queue must hear of something.
        """
        self._settings = settings
        self._context = context
        self._outbox = outbox
        self._delivery = delivery
        self._settle = settle
        self._due = due
        self._posted = posted
        self._idle = idle
        self.failures_on_the_wire: list[Outcome] = []
        self.returns_on_the_wire: list[Return] = []
        self.task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to report, unless that is under way."""
        if self.task is None and (self._outbox.failures or self._outbox.returns):
            self.task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        try:
            while self._outbox.failures:
                await self._report_failures()
            while self._outbox.returns:
                await self._report_returns()
        finally:
            self.task = None
            self._idle()

    async def _report_failures(self) -> None:
        batch = self.failures_on_the_wire = self._outbox.take_failures()
        settings = self._settings()
        command = FailCommand(
            settings.keys.meta,
            consumer=self._context.consumer,
            rows=[outcome.row for outcome in batch],
            events=settings.events,
            metrics=settings.metrics,
        )
        try:
            result = await self._delivery.until_answered(lambda: self._context.connection.execute(command))
        finally:
            self.failures_on_the_wire = []
        self._settle(batch, [code for code, _ in result.outcomes])
        self._posted(result.posted)
        self._due(result.next_due_ms, result.now_ms)

    async def _report_returns(self) -> None:
        batch = self.returns_on_the_wire = self._outbox.take_returns()
        settings = self._settings()
        command = ReleaseCommand(
            settings.keys.meta,
            consumer=self._context.consumer,
            cell=self._context.consumer,
            rows=[(*lease.fence, lease.entry_id, crash_reason) for lease, crash_reason in batch],
            max_crashes=settings.max_crashes,
            limiter=settings.limiter,
            events=settings.events,
            metrics=settings.metrics,
        )
        try:
            codes = await self._delivery.until_answered(lambda: self._context.connection.execute(command))
        finally:
            self.returns_on_the_wire = []
        for (lease, crash_reason), code in zip(batch, codes, strict=True):
            self._context.in_flight.take(lease.seq)
            self._context.observer.released(lease, code, crash_reason)
