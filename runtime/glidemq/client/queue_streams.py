"""Reading what running jobs put out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Final

from glidemq.client.queue_handle import QueueHandle
from glidemq.clock import monotonic_s
from glidemq.commands.read_stream import BEGINNING, RawChunk, ReadStreamCommand, StreamPage
from glidemq.errors import (
    AuthenticationError,
    ClosedError,
    ConnectionError,
    JobNotFoundError,
    StreamGapError,
    ValidationError,
)
from glidemq.job.chunks import ATTEMPT_FIELD
from glidemq.options import Duration, check_job_id, duration_ms

log = logging.getLogger("glidemq.client")

# The looks of all readers of a connection leave together, and cost the server about 3 us each. They become rarer
# while nothing comes, and follow close again once something does.
SHORTEST_LOOK_S: Final = 0.01
LONGEST_LOOK_S: Final = 0.1
SLOWING: Final = 1.5
CHUNKS_PER_READ: Final = 100
LONGEST_WAIT_S: Final = 5.0

FINAL_STATES: Final = frozenset({"completed", "failed", "removed"})


@dataclass(frozen=True, slots=True)
class StreamEntry:
    """One chunk of a job's output.

    id: reading on from it (`last_id`) continues right behind.
    fields: what the processor gave to `stream`.
    attempt: 1 for the job's first run; each that starts over has the next number, after failures, crashes and rate
        limits alike, so that what came before is void. Runs that put out nothing leave gaps.
    """

    id: str
    fields: Mapping[str, str]
    attempt: int = 1

    @property
    def is_last(self) -> bool:
        """Whether the processor has marked this chunk as the last one: `done` is "1", or `type` is "done"."""
        return self.fields.get("done") == "1" or self.fields.get("type") == "done"


class QueueStreams(QueueHandle):
    """The part of `Queue` that reads jobs' streams; every method raises ConnectionError and ClosedError."""

    async def read_stream(
        self, job_id: str, *, last_id: str | None = None, count: int = 100, block: Duration | None = None
    ) -> list[StreamEntry]:
        """Chunks of a job's stream, oldest first; none if there are none, or no such job.

        last_id: of the last chunk seen, exclusive; None: from the beginning.
        count: how many at most.
        block: seconds or timedelta to wait for a chunk; None and 0: not at all. Waiting holds nothing up.

        Raises:
            StreamGapError: chunks behind `last_id` were trimmed or have expired. ValidationError: a bad argument.
        """
        command = self._reading(job_id, last_id, count)
        block_s = 0 if block is None else duration_ms(block, "block", bare_limit=True) / 1000
        give_up_at = monotonic_s() + block_s
        look_s = SHORTEST_LOOK_S
        entries: list[StreamEntry] = []
        while True:
            page = await self._read(command)
            entries += _entries(page)
            if page.more and len(entries) < count:
                command = self._reading(job_id, entries[-1].id, count - len(entries))
                continue
            left_s = give_up_at - monotonic_s()
            if entries or left_s <= 0:
                return entries
            await asyncio.sleep(min(look_s, left_s))
            look_s = min(look_s * SLOWING, LONGEST_LOOK_S)

    async def stream(self, job_id: str, *, last_id: str | None = None) -> AsyncGenerator[StreamEntry, None]:
        """The chunks of a job's stream as they come:

            async for entry in queue.stream(job.id): print(entry.fields["t"], end="")

        Ends by itself: behind a chunk with `done="1"` or `type="done"`, or when the job has completed or failed for
        good and everything is read. Waits out a server that cannot be reached; no chunk is missed or seen twice.

        last_id: of the last chunk seen, exclusive; None: from the beginning.

        Raises:
            StreamGapError: chunks behind `last_id` were trimmed or have expired.
            JobNotFoundError: there is no such job, or it was removed before its end was seen; of one that is removed
            because it has ended, the chunks can be read for a minute.
            ValidationError: a bad argument.
        """
        command = self._reading(job_id, last_id, CHUNKS_PER_READ)
        look_s = SHORTEST_LOOK_S
        while True:
            page = await self._read_patiently(command)
            for entry in _entries(page):
                yield entry
                if entry.is_last:
                    return
            if page.chunks:
                command = self._reading(job_id, page.chunks[-1].id, CHUNKS_PER_READ)
                look_s = SHORTEST_LOOK_S
            if page.more:
                continue
            if page.state is None:
                raise JobNotFoundError(f"job {job_id} does not exist in queue {self.name!r} (any more)")
            if page.state in FINAL_STATES:
                return
            await asyncio.sleep(look_s)
            look_s = min(look_s * SLOWING, LONGEST_LOOK_S)

    def _reading(self, job_id: str, last_id: str | None, count: int) -> ReadStreamCommand:
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:  # pyright: ignore[reportUnnecessaryIsInstance] - users err
            raise ValidationError("count must be a positive integer")
        return ReadStreamCommand(
            self._queue_key, job_id=check_job_id(job_id), last_id=_position(last_id), count=count
        )

    async def _read(self, command: ReadStreamCommand) -> StreamPage:
        page = await self._execute(command)
        if page.gone is not None:
            raise StreamGapError(
                f"chunks of the stream of job {command.job_id} up to {page.gone} are gone: read on from there, or"
                " give the job a larger stream_limit or stream_ttl",
                last_id=page.gone,
            )
        return page

    async def _read_patiently(self, command: ReadStreamCommand) -> StreamPage:
        wait_s = LONGEST_LOOK_S
        while True:
            try:
                return await self._read(command)
            except (AuthenticationError, ClosedError):
                raise
            except ConnectionError as error:
                log.warning(
                    "stream of job %s of queue %r: %s; trying again", command.job_id, self.name, error
                )
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, LONGEST_WAIT_S)


def _position(last_id: object) -> str:
    if last_id is None:
        return BEGINNING
    if isinstance(last_id, str):
        milliseconds, _, sequence = last_id.partition("-")
        if milliseconds.isascii() and milliseconds.isdigit() and len(milliseconds) <= 20:
            if not sequence and "-" not in last_id:
                return f"{milliseconds}-0"
            if sequence.isascii() and sequence.isdigit() and len(sequence) <= 20:
                return last_id
    raise ValidationError(f"last_id must be the id of a chunk, not {last_id!r:.40}")


def _entries(page: StreamPage) -> list[StreamEntry]:
    return [_entry(chunk) for chunk in page.chunks]


def _entry(chunk: RawChunk) -> StreamEntry:
    flat = [text.decode("utf-8", "replace") for text in chunk.flat]
    fields = dict(zip(flat[::2], flat[1::2], strict=True))
    attempt = fields.pop(ATTEMPT_FIELD, "1")
    return StreamEntry(chunk.id, fields, int(attempt) if attempt.isdecimal() else 1)
