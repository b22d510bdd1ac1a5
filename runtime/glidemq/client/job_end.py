"""Waiting for the end of one job."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final, Self

from glidemq.clock import monotonic_s
from glidemq.commands.get_job import GetJobCommand
from glidemq.commands.keys import QueueKeys
from glidemq.config import ConnectionOptions
from glidemq.connection import Connection, ReaderConnection, StreamEntry
from glidemq.errors import (
    AuthenticationError,
    ConnectionError,
    JobFailedError,
    JobNotFoundError,
    JobTimeoutError,
)
from glidemq.payload import Payload

EVENTS_PER_READ: Final = 100
# Events are not certain: workers can switch them off, and a busy queue trims them. So the job itself is looked
# at that often.
LOOK_INTERVAL_S: Final = 1.0
RETRY_PAUSE_S: Final = 0.1

FAILURES: Final = frozenset({b"failed", b"expired", b"revoked"})


class EndWatch:
    """Follows a queue's events from before a job is added until that job has ended.

    Owns: one connection for blocking reads. Stops when: the `async with` block ends.
    """

    def __init__(
        self, options: ConnectionOptions, keys: QueueKeys, connection: Connection, payload: Payload
    ) -> None:
        self._reader = ReaderConnection(options, client_name="glidemq-wait")
        self._keys = keys
        self._connection = connection
        self._payload = payload
        self._last_id = "0-0"

    async def __aenter__(self) -> Self:
        try:
            self._last_id = await self._reader.newest_entry_id(self._keys.events)
        except BaseException:
            await self._reader.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._reader.close()

    async def result_of(self, job_id: str, timeout_ms: int) -> Any:
        """The return value of a job; errors as `Queue.add_and_wait` says."""
        deadline = monotonic_s() + timeout_ms / 1000
        look_at = monotonic_s() + LOOK_INTERVAL_S
        while (now := monotonic_s()) < deadline:
            for entry in await self._next_events(min(deadline, look_at) - now):
                if entry.fields.get(b"jobId") == job_id.encode() and self._ends(entry.fields):
                    return self._result_told(job_id, entry.fields)
            if monotonic_s() >= look_at:
                if await self._has_ended(job_id):
                    break
                look_at = monotonic_s() + LOOK_INTERVAL_S
        return await self._result_stored(job_id, timeout_ms)

    async def _next_events(self, wait_s: float) -> list[StreamEntry]:
        block_ms = max(1, round(wait_s * 1000))
        try:
            entries = await self._reader.read_stream(
                {self._keys.events: self._last_id}, block_ms=block_ms, count=EVENTS_PER_READ
            )
        except AuthenticationError:
            raise
        except ConnectionError:
            await asyncio.sleep(min(RETRY_PAUSE_S, max(wait_s, 0)))
            return []
        if entries:
            self._last_id = entries[-1].entry_id.decode()
        return entries

    # -- told by an event --------------------------------------------------------------------------------

    def _ends(self, fields: Mapping[bytes, bytes]) -> bool:
        event = fields.get(b"event")
        return event in FAILURES or event in (b"completed", b"removed")

    def _result_told(self, job_id: str, fields: Mapping[bytes, bytes]) -> Any:
        event = fields[b"event"]
        if event == b"completed":
            return self._value(fields.get(b"returnvalue"))
        if event == b"removed":
            raise _removed(job_id)
        reason = _text(fields.get(b"failedReason"))
        raise JobFailedError(reason or f"Job {job_id} ended with event '{event.decode()}'")

    # -- found in the job --------------------------------------------------------------------------------

    async def _fields(self, job_id: str) -> Mapping[str, Any]:
        fields = await self._connection.execute(GetJobCommand(self._keys.meta, job_id=job_id))
        if fields is None:
            raise _removed(job_id)
        return fields

    async def _has_ended(self, job_id: str) -> bool:
        try:
            return (await self._fields(job_id)).get("state") in (b"completed", b"failed")
        except AuthenticationError:
            raise
        except ConnectionError:
            return False

    async def _result_stored(self, job_id: str, timeout_ms: int) -> Any:
        fields = await self._fields(job_id)
        state = fields.get("state")
        if state == b"completed":
            return self._value(fields.get("returnvalue"))
        if state == b"failed":
            raise JobFailedError(_text(fields.get("failedReason")) or f"Job {job_id} failed")
        raise JobTimeoutError(f"Job {job_id} did not finish within {timeout_ms / 1000:g} s")

    def _value(self, raw: bytes | None) -> Any:
        return self._payload.load(raw) if raw else None


def _removed(job_id: str) -> JobNotFoundError:
    return JobNotFoundError(f"Job {job_id} was removed before it was seen to finish")


def _text(raw: bytes | None) -> str:
    return raw.decode("utf-8", "replace") if raw else ""
