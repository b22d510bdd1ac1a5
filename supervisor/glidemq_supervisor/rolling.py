"""Replacing actor processes one at a time, with no job lost or run again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from glidemq_supervisor.process_slot import Phase, ProcessSlot

log = logging.getLogger("glidemq.supervisor")


class Roller:
    """Drains one actor, waits until its successor is ready, and goes on to the next.

    There is no limit of time: an actor that runs a long job keeps its place until the job is done, and the
    job's own `timeout` is what bounds it. Owns: the choice of the one slot being replaced. Stops when: none
    is left.
    """

    def __init__(self, *, remind_every_s: float = 30.0) -> None:
        self._remind_every_s = remind_every_s
        self._current: ProcessSlot | None = None
        self._old_generation = 0
        self._since = 0.0
        self._reminded = 0.0

    @property
    def busy(self) -> bool:
        """Whether a slot is being replaced right now."""
        return self._current is not None

    def step(
        self, slots: Iterable[ProcessSlot], why_replace: Callable[[ProcessSlot], str | None], now: float
    ) -> None:
        """Go on where the last step stopped. `why_replace` says why a slot's process has to go, or None."""
        if self._current is not None:
            if not self._is_done(self._current):
                self._remind(self._current, now)
                return
            self._current = None
        for slot in slots:
            if slot.ready and (reason := why_replace(slot)) is not None:
                self._begin(slot, reason, now)
                return

    def _begin(self, slot: ProcessSlot, reason: str, now: float) -> None:
        log.info("%s (pid %s) finishes what it runs and is replaced: %s", slot.label, slot.pid, reason)
        self._current = slot
        self._old_generation = slot.generation
        self._since = self._reminded = now
        slot.drain()

    def _is_done(self, slot: ProcessSlot) -> bool:
        if slot.phase is Phase.VACANT:  # no longer wanted: removed, or the supervisor is stopping
            return True
        return slot.generation > self._old_generation and slot.ready

    def _remind(self, slot: ProcessSlot, now: float) -> None:
        if slot.phase is Phase.LEAVING and now - self._reminded >= self._remind_every_s:
            self._reminded = now
            log.info(
                "%s (pid %s) is to be replaced and has been finishing for %d s: %s",
                slot.label, slot.pid, now - self._since, slot.page.note or "it does not say what it runs",
            )  # fmt: skip
