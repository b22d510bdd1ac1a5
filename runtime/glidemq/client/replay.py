"""Replaying dead letters: new jobs of the queue in which they failed."""

from __future__ import annotations

import asyncio
from typing import Any, Final, NamedTuple, cast

import orjson

from glidemq.commands.enqueue import JobRow
from glidemq.commands.get_job import GetJobCommand
from glidemq.commands.job_fields import JobFields
from glidemq.commands.keys import QueueKeys
from glidemq.commands.read_dead_letter import ReadDeadLetterCommand, StoredLetter
from glidemq.commands.remove import RemoveCommand
from glidemq.commands.replay_dead_letter import SKIPPED, TOO_LATE, ReplayDeadLetterCommand
from glidemq.commands.settle_replay import SettleReplayCommand
from glidemq.connection.connection import Connection
from glidemq.errors import JobStateError
from glidemq.job.stored_values import json_object
from glidemq.options import from_wire, to_wire

NOT_FOR_REPLAYS: Final = ("jobId", "delay", "deduplication", "parent", "parents")
MISSING_ORIGIN: Final = "DLQ entry is missing originalQueue metadata"
SKIPPED_REPLAY: Final = "DLQ replay was skipped due to duplicate or deduplicated job constraints"
TRIES: Final = 3


class Replay(NamedTuple):
    """The job by which a letter is tried again; not a new one where the failed job itself was retried meanwhile."""

    job_id: str
    is_new: bool


class Replayer:
    """Replays letters of the queue `keys` that lie in the queue `dead`.

    A replay is three calls, since the queues may lie in different slots: the job is added under the letter's name, the
    letter is removed, and the note of that name is let go. Interrupted in between, it can be repeated, or come twice at
    once: the same job is found, for 30 days.
    """

    def __init__(self, connection: Connection, keys: QueueKeys, dead: QueueKeys) -> None:
        self._connection = connection
        self._keys = keys
        self._dead = dead

    async def replay(self, letter_id: str) -> Replay | None:
        """What tries the letter again; None when there is no such letter.

        A failed job that was retried by hand is not failed any more: its letter only goes, as its work would be done
        twice. Should it fail again, that makes a new letter.

        Raises:
            JobStateError: this is no letter of this queue, or an option keeps it from being added.
        """
        for _ in range(TRIES):
            letter = await self._connection.execute(ReadDeadLetterCommand(self._dead.meta, job_id=letter_id))
            if letter is None:
                return None
            self._check_source(letter)
            original = await self._original(letter)
            if original is not None and original.get("state") != b"failed":
                await self._remove(letter)
                return Replay(cast(str, letter.original_id), is_new=False)
            added = await self._add(letter, original)
            if added is SKIPPED:
                raise JobStateError(SKIPPED_REPLAY)
            if added is not TOO_LATE:
                await self._remove(letter)
                return Replay(cast(str, added), is_new=True)
        raise JobStateError(
            f"dead letter {letter_id} was not replayed: the clocks of two servers differ by a minute"
        )

    def _check_source(self, letter: StoredLetter) -> None:
        if letter.queue is None:
            raise JobStateError(MISSING_ORIGIN)
        if letter.queue != self._keys.queue:
            raise JobStateError(f"dead letter {letter.id} is from queue {letter.queue!r}, not from this one")

    async def _add(self, letter: StoredLetter, original: JobFields | None) -> str | bool | None:
        return await self._connection.execute(
            ReplayDeadLetterCommand(
                self._keys.meta,
                letter=self._name_of(letter),
                read_at_ms=letter.now_ms,
                job=_row(letter, original),
            )
        )

    async def _original(self, letter: StoredLetter) -> JobFields | None:
        """The failed job, if it is still there."""
        if not letter.original_id:
            return None
        return await self._connection.execute(GetJobCommand(self._keys.meta, job_id=letter.original_id))

    async def _remove(self, letter: StoredLetter) -> None:
        command: Any = RemoveCommand(self._dead.meta, job_id=letter.id)
        while command is not None:
            command = (await self._connection.execute(command)).following
        await self._connection.execute(SettleReplayCommand(self._keys.meta, letter=self._name_of(letter)))

    def _name_of(self, letter: StoredLetter) -> str:
        # An obliterated queue issues its ids again: the time tells those apart.
        return f"{self._dead.queue}:{letter.id}:{letter.timestamp}"

    async def replay_all(self, letter_ids: list[str]) -> int:
        """How many of them were replayed now; those gone meanwhile, or retried by hand, are left out."""
        replays = await asyncio.gather(*(self.replay(letter_id) for letter_id in letter_ids))
        return sum(replay is not None and replay.is_new for replay in replays)


def _row(letter: StoredLetter, original: JobFields | None) -> bytes:
    """The failed job once more: as it is now if it is still there, else as the letter has it."""
    name, data, raw_opts = letter.name, letter.data, letter.opts
    if original is not None:
        name = original.get("name", name.encode()).decode(errors="replace")
        data, raw_opts = original.get("data", data), original.get("opts", raw_opts)
    opts = {
        member: value
        for member, value in json_object(raw_opts or b"{}").items()
        if member not in NOT_FOR_REPLAYS
    }
    wire = to_wire(from_wire(opts))
    return JobRow.pack(
        name,
        b"{}" if data is None else data,
        orjson.dumps(opts),  # with what only others understand
        priority=wire.priority,
        lifo=wire.lifo,
        ttl_ms=wire.ttl_ms,
        attempts=wire.attempts,
        group=wire.group,
        cost=wire.cost,
    )
