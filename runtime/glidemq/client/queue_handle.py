"""One queue over one connection: what everybody who works on a queue needs first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, ClassVar, Protocol, Self, TypeVar, cast

from glidemq.client.adder import Adder
from glidemq.client.child_adding import add_child, stands_elsewhere
from glidemq.client.connecting import choose_connection, whereabouts
from glidemq.client.new_jobs import JobPreparation, PreparedJob
from glidemq.commands.command import Command
from glidemq.commands.keys import DEFAULT_PREFIX, QueueKeys
from glidemq.config import ConnectionOptions
from glidemq.connection import Connection
from glidemq.errors import ClosedError, ValidationError
from glidemq.options import check_prefix, check_queue_name
from glidemq.options.dead_letter_queue import DeadLetterQueueOnWire
from glidemq.options.nested import MAX_COUNT
from glidemq.payload import Payload
from glidemq.payload.compression import CompressionName, check_compression
from glidemq.serializer import JSON_SERIALIZER, Serializer

R = TypeVar("R")


class Paged(Protocol):
    """A result that names the command that goes on where it stopped; None at the end."""

    @property
    def following(self) -> Command[Any] | None: ...


Page = TypeVar("Page", bound=Paged)


def check_max_waiting(value: object) -> int | None:
    """`value` if it is None or a positive integer, else a ValidationError."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_COUNT:
        raise ValidationError(f"max_waiting must be a positive integer or None, not {value!r:.40}")
    return value


class QueueHandle:
    """A queue's name, its connection, and whether that is to be closed; `Queue` and `Producer` add the rest.

    Owns: the connection, unless it was borrowed, and the adds under way. Stops when: `close()` is called.
    """

    _kind: ClassVar[str]
    """What the user calls it, for messages."""

    def __init__(
        self,
        name: str,
        *,
        connection: str | ConnectionOptions | None = None,
        client: Connection | None = None,
        prefix: str = DEFAULT_PREFIX,
        serializer: Serializer = JSON_SERIALIZER,
        compression: CompressionName | None = None,
        events: bool = True,
        max_waiting: int | None = None,
        dead_letters: DeadLetterQueueOnWire | None = None,
    ) -> None:
        self.name = check_queue_name(name)
        self.keys = QueueKeys(check_prefix(prefix), name)
        self._payload = Payload(serializer)
        self._preparation = JobPreparation(self._payload, check_compression(compression))
        self._connection, self._owned = choose_connection(connection, client)
        self._queue_key = self.keys.meta
        self._adder = Adder(
            self._connection,
            self._queue_key,
            events=events,
            max_waiting=check_max_waiting(max_waiting),
            dead_letters=dead_letters,
        )
        self._max_waiting = max_waiting
        self._child_adds: set[asyncio.Task[str | None]] = set()
        self._closing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Refuse further calls, let adds under way finish, close the connection unless it is borrowed.

        May be called twice.
        """
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(), name=f"glidemq-close-{self.name}")
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        await self._adder.drain()
        if self._child_adds:
            await asyncio.wait(self._child_adds)
        if self._owned is not None:
            await self._owned.close()

    def __repr__(self) -> str:
        closed = "" if self._closing is None else ", closed"
        return f"<{self._kind} {self.name!r}{whereabouts(self._connection)}{closed}>"

    def _check_open(self) -> None:
        if self._closing is not None:
            raise ClosedError(f"{self._kind} is closing")

    async def _add(self, new: PreparedJob[Any]) -> str | None:
        """The id of one new job; None when it counts as added already."""
        if stands_elsewhere(new.wire, self.name):
            # A task of its own: cancelling the caller must not leave a parent waiting for a job that never comes.
            task = asyncio.create_task(add_child(self._connection, self.keys, new, self._max_waiting))
            self._child_adds.add(task)
            task.add_done_callback(self._child_adds.discard)
            return await asyncio.shield(task)
        return await self._adder.submit(new.row)

    async def _add_all(self, jobs: Sequence[PreparedJob[Any]]) -> list[str | None]:
        """The ids of new jobs, in their order."""
        together = [job for job in jobs if not stands_elsewhere(job.wire, self.name)]
        ids = iter(await self._adder.add_all([job.row for job in together]))
        if len(together) == len(jobs):
            return list(ids)
        return [await self._add(job) if stands_elsewhere(job.wire, self.name) else next(ids) for job in jobs]

    async def _execute(self, command: Command[R]) -> R:
        self._check_open()
        return await self._connection.execute(command)

    async def _pages(self, first: Command[Page]) -> AsyncIterator[Page]:
        """The result of a command, of the one that goes on where it stopped, and so forth."""
        command: Command[Page] | None = first
        while command is not None:
            page = await self._execute(command)
            yield page
            command = page.following

    async def _last_page(self, first: Command[Page]) -> Page:
        """The result of the command that ends what `first` began."""
        page = await self._execute(first)
        while page.following is not None:
            page = await self._execute(cast(Command[Page], page.following))
        return page
