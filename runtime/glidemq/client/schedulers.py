"""A queue's schedulers, as those who set them up see them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeVar

from glidemq.clock import wall_ms
from glidemq.commands.get_scheduler import GetSchedulerCommand
from glidemq.commands.keys import QueueKeys
from glidemq.commands.list_schedulers import ListSchedulersCommand
from glidemq.commands.remove_scheduler import RemoveSchedulerCommand
from glidemq.commands.upsert_scheduler import UpsertSchedulerCommand
from glidemq.connection import Connection
from glidemq.errors import SchedulerBusyError, ValidationError
from glidemq.options.cron import HORIZON_YEARS, next_cron_run
from glidemq.options.schedule import (
    JobTemplate,
    Schedule,
    check_scheduler_name,
    entry_to_wire,
    schedule_to_wire,
    template_to_wire,
)
from glidemq.options.scheduler_entry import RepeatableJob, SchedulerEntry, entry_from_wire
from glidemq.payload import Payload

# As the reference waits for the lock: 200 times 25 ms.
LOCK_TRIES: Final = 200
LOCK_RETRY_S: Final = 0.025

T = TypeVar("T")


class Schedulers:
    """Creates, reads and removes the schedulers of one queue; workers fire them.

    payload: how the queue's data becomes text.
    """

    def __init__(self, connection: Connection, keys: QueueKeys, payload: Payload) -> None:
        self._connection = connection
        self._queue_key = keys.meta
        self._payload = payload

    async def upsert(
        self,
        name: str,
        schedule: Schedule | Mapping[str, Any],
        template: JobTemplate | Mapping[str, Any] | None = None,
    ) -> SchedulerEntry:
        """Create a scheduler, or change the one of this name; returns it as stored.

        A schedule that is unchanged keeps its next run and its count, so that a redeploy resets nothing; limit
        and template are always replaced. While a `repeat_after_complete` run has not ended, the new interval
        counts from its end.

        Raises, before anything is sent: ValidationError, SerializationError. Afterwards: ValidationError (no
        run lies within the bounds), SchedulerBusyError, QueueFullError, ConnectionError.
        """
        check_scheduler_name(name)
        wire = schedule_to_wire(schedule)
        raw = entry_to_wire(wire, template_to_wire(template, self._payload))
        # A cron pattern's first run depends on the time; the server says so when its clock is another.
        clock_ms = wall_ms()

        async def store() -> bytes | None:
            nonlocal clock_ms
            result = await self._connection.execute(self._upsert(name, raw, wire, clock_ms))
            if result.clock_ms is not None:
                clock_ms = result.clock_ms
                result = await self._connection.execute(self._upsert(name, raw, wire, clock_ms))
            return result.entry

        entry = entry_from_wire(await _when_unlocked(store), self._payload)
        assert entry is not None, "the server stores what it was given"
        return entry

    async def get(self, name: str) -> SchedulerEntry | None:
        """The scheduler of this name; None if there is none, or if others wrote what cannot be read."""
        raw = await self._connection.execute(
            GetSchedulerCommand(self._queue_key, name=check_scheduler_name(name))
        )
        return None if raw is None else entry_from_wire(raw, self._payload)

    async def list(self) -> list[RepeatableJob]:
        """All schedulers by name; entries of others that cannot be read are left out."""
        entries: dict[str, SchedulerEntry] = {}
        command: ListSchedulersCommand | None = ListSchedulersCommand(self._queue_key)
        while command is not None:
            page = await self._connection.execute(command)
            for name, raw in page.entries:
                entry = entry_from_wire(raw, self._payload)
                if entry is not None:
                    entries[name.decode(errors="replace")] = entry
            command = page.following
        return [RepeatableJob(name, entries[name]) for name in sorted(entries)]

    async def remove(self, name: str) -> bool:
        """Delete a scheduler; False if there is none. Jobs that it has added are left alone.

        Raises SchedulerBusyError, ConnectionError.
        """
        command = RemoveSchedulerCommand(self._queue_key, name=check_scheduler_name(name))
        return await _when_unlocked(lambda: self._connection.execute(command))

    def _upsert(self, name: str, raw: bytes, wire: Mapping[str, Any], now_ms: int) -> UpsertSchedulerCommand:
        pattern: str | None = wire.get("pattern")
        if pattern is None:
            return UpsertSchedulerCommand(self._queue_key, name=name, entry=raw)
        # A slot at this very millisecond counts.
        first_ms = next_cron_run(pattern, wire.get("tz"), max(now_ms, wire.get("startDate", 0)) - 1)
        if first_ms is None:
            raise ValidationError(f"No cron match found within {HORIZON_YEARS} years for pattern: {pattern}")
        return UpsertSchedulerCommand(
            self._queue_key, name=name, entry=raw, first_run_ms=first_ms, asked_at_ms=now_ms
        )


async def _when_unlocked(attempt: Callable[[], Awaitable[T | None]]) -> T:
    """The result of the first attempt that does not give None."""
    for number in range(LOCK_TRIES):
        if number:
            await asyncio.sleep(LOCK_RETRY_S)
        result = await attempt()
        if result is not None:
            return result
    raise SchedulerBusyError("Scheduler is busy; try again")
