"""Connections without a socket: a processor's commands ride the ring to the gateway, the replies ride back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from glidemq.commands.command import Command, unpack
from glidemq.errors import ClosedError
from glidemq.process.actor_context import ActorContext
from glidemq.process.messages import command_header, read_error_header
from glidemq.rings.records import Record, RecordKind

R = TypeVar("R")

FULL_RING_RETRY_S = 0.002


class RingConnection:
    """The `Connection` of an async actor process.

    Calls of one turn of the loop share one wake-up of the gateway, which pipelines them with everybody else's.
    Owns: the calls that wait for a reply. Stops when: the process does.
    """

    def __init__(self, context: ActorContext, wake_gateway: Callable[[], None]) -> None:
        self._context = context
        self._wake_gateway = wake_gateway
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        self._parts: dict[int, list[bytes]] = {}  # of replies that come in several
        self._closed = False

    async def execute(self, command: Command[R]) -> R:
        """Have the gateway execute one command. Raises what a direct connection would raise."""
        reply = await self.call(
            command.function, command.queue_key, command.arguments(), replayable=command.replayable
        )
        return command.parse_reply(unpack(reply))

    async def call(self, function: str, queue_key: str, arguments: bytes, *, replayable: bool) -> bytes:
        """Have the gateway call a server function; its undecoded reply."""
        if self._closed:
            raise ClosedError("Connection is closed")
        seq = self._context.next_command_seq()
        header = command_header(function, queue_key, replayable)
        outbound = self._context.side.outbound
        while not outbound.try_push(RecordKind.COMMAND, seq, header, arguments):
            self._context.gateway_bell.ring_always()
            await asyncio.sleep(FULL_RING_RETRY_S)
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[seq] = future
        self._wake_gateway()
        try:
            return await future
        finally:
            self._waiting.pop(seq, None)
            self._parts.pop(seq, None)

    def receive(self, record: Record) -> None:
        """A reply has arrived; one whose caller was cancelled is dropped."""
        future = self._waiting.get(record.seq)
        if future is None or future.done():
            return
        if record.header:
            future.set_exception(read_error_header(record.header))
        elif record.kind == RecordKind.REPLY_PART:
            self._parts.setdefault(record.seq, []).append(record.body)
        else:
            future.set_result(b"".join((*self._parts.pop(record.seq, ()), record.body)))

    async def close(self) -> None:
        """Refuse further calls; those in flight keep waiting for their replies."""
        self._closed = True


class BlockingRingConnection:
    """The `Connection` of a sync actor process, for `async` clients that a plain function runs by `asyncio.run`.

    Its coroutines block: nothing else runs in such a process meanwhile. Stops when: the process does.
    """

    def __init__(self, call: Callable[[str, str, bytes, bool], bytes]) -> None:
        self._call = call

    async def execute(self, command: Command[R]) -> R:
        """Have the gateway execute one command. Raises what a direct connection would raise."""
        reply = self._call(command.function, command.queue_key, command.arguments(), command.replayable)
        return command.parse_reply(unpack(reply))

    async def call(self, function: str, queue_key: str, arguments: bytes, *, replayable: bool) -> bytes:
        """Have the gateway call a server function; its undecoded reply."""
        return self._call(function, queue_key, arguments, replayable)

    async def close(self) -> None:
        """Nothing to close: the ring is the process's."""
