"""A connection of one's own to a server: executes commands, repeats those that may be repeated."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import TYPE_CHECKING, Self, TypeVar

from glidemq.commands.command import Command, unpack
from glidemq.config import ConnectionOptions
from glidemq.connection.endpoint import Endpoint
from glidemq.connection.error_mapping import read_error
from glidemq.connection.fcall_pipeline import FcallPipeline
from glidemq.connection.glide_client import open_client
from glidemq.connection.library_loader import LibraryLoader, ServerLibrary
from glidemq.connection.queue_pipelines import QueuePipelines
from glidemq.connection.repeating_caller import RepeatingCaller
from glidemq.connection.server_commands import ServerCommands
from glidemq.errors import ClosedError, ConfigurationError

if TYPE_CHECKING:
    from glidemq.connection.glide_client import GlideApi

R = TypeVar("R")
T = TypeVar("T")


class CommandConnection:
    """The `Connection` that talks to a server.

    Connects at first use. One event loop per connection; not usable in a forked child.
    Owns: one glide client (one connection per server node), and a hold on the embedded server if the options
    ask for one. Stops when: `close()` is called; it waits for the calls in flight, each bounded by
    `request_deadline`.
    """

    def __init__(
        self,
        options: ConnectionOptions,
        *,
        client_name: str | None = None,
        library: ServerLibrary | None = None,
    ) -> None:
        self.options = options
        self._endpoint = Endpoint(options)
        self._client_name = client_name or "glidemq"
        self._library = library
        self._opening: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client: GlideApi | None = None
        self._commands: ServerCommands | None = None
        self._pipeline: FcallPipeline | QueuePipelines | None = None
        self._caller: RepeatingCaller | None = None
        self._calls = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # -- opening and closing -------------------------------------------------------------------------------

    async def open(self) -> None:
        """Connect now rather than at first use.

        Raises ConnectionError when the server cannot be reached within `connection_timeout`,
        AuthenticationError, ConfigurationError (TLS files, embedded server not installed), ClosedError.
        """
        if self._closing is not None:
            raise ClosedError("the connection is closed")
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        elif self._loop is not asyncio.get_running_loop():
            raise ConfigurationError(
                "a connection belongs to the event loop that first used it: make one per loop"
            )
        if self._caller is not None:
            return
        if self._opening is None:
            self._opening = asyncio.create_task(self._open(), name="glidemq-connect")
            self._opening.add_done_callback(self._opened)
        # Shielded: one caller's cancellation must not fail the others.
        await asyncio.shield(self._opening)

    def _opened(self, task: asyncio.Task[None]) -> None:
        self._opening = None
        if not task.cancelled():
            task.exception()  # seen by the waiting callers, if any are left

    async def _open(self) -> None:
        options = await self._endpoint.reach()
        client = await open_client(options, self._client_name)
        commands = ServerCommands(client, cluster=options.cluster)
        loader = LibraryLoader(
            commands, self._library or ServerLibrary.bundled(), cluster=options.cluster, place=options.place
        )
        pipeline = self._pipeline = QueuePipelines(client) if options.cluster else FcallPipeline(client)
        self._client, self._commands = client, commands
        self._caller = RepeatingCaller(pipeline, loader, options, self._endpoint)

    async def close(self) -> None:
        """Refuse new calls, finish those in flight, disconnect. May be called twice, also at once."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(), name="glidemq-disconnect")
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        if self._opening is not None:
            await asyncio.wait([self._opening])
        await self._idle.wait()
        if self._client is not None:
            await self._client.close()
        self._endpoint.release()

    # -- function calls ------------------------------------------------------------------------------------

    async def execute(self, command: Command[R]) -> R:
        """Execute one command and return its parsed reply; see `Connection.execute`."""
        reply = await self.call(
            command.function, command.queue_key, command.arguments(), replayable=command.replayable
        )
        return command.parse_reply(unpack(reply))

    async def call(self, function: str, queue_key: str, arguments: bytes, *, replayable: bool) -> bytes:
        """Call a server function and return its reply undecoded; see `Connection.call`."""
        if self._caller is None or self._closing is not None or self._loop is not asyncio.get_running_loop():
            await self.open()
        assert self._caller is not None
        self._calls += 1
        self._idle.clear()
        try:
            return await self._caller.call(function, queue_key, arguments, replayable=replayable)
        finally:
            self._calls -= 1
            if not self._calls:
                self._idle.set()

    @property
    def requests_sent(self) -> int:
        """Requests that carried function calls so far; each carries one or many."""
        return 0 if self._pipeline is None else self._pipeline.requests

    # -- plain commands ------------------------------------------------------------------------------------

    async def ping(self) -> None:
        """One round trip. Raises ConnectionError when there is no answer within `request_timeout`."""
        commands = await self._ready_commands()
        await self._plain(commands.ping(), "PING")

    async def unblock_client(self, client_id: int, *, key: str) -> bool:
        """End the blocking read of another connection as if its time were up. False if it was not blocked.

        `key` is one that the other connection reads: ids are a node's own in a cluster.
        """
        commands = await self._ready_commands()
        return await self._plain(commands.unblock_client(client_id, commands.route_of(key)), "CLIENT UNBLOCK")

    async def scan(self, pattern: str, *, key: str, count: int = 512) -> AsyncIterator[list[bytes]]:
        """Keys that match a glob pattern, in portions; in cluster mode those of the node that holds `key`.

        For maintenance only: it walks the whole keyspace. May yield a key twice, and one that is gone by now.
        """
        commands = await self._ready_commands()
        portions = commands.scan(pattern, key=key, count=count)
        while True:
            try:
                portion = await self._plain(anext(portions), "SCAN")
            except StopAsyncIteration:
                return
            yield portion

    async def _ready_commands(self) -> ServerCommands:
        if (
            self._commands is None
            or self._closing is not None
            or self._loop is not asyncio.get_running_loop()
        ):
            await self.open()
        assert self._commands is not None
        return self._commands

    async def _plain(self, request: Awaitable[T], action: str) -> T:
        """Send a command that changes nothing, so that no reply means no more than "not reachable now"."""
        self._calls += 1
        self._idle.clear()
        try:
            return await request
        except (StopAsyncIteration, asyncio.CancelledError):
            raise
        except Exception as error:
            raise read_error(error, action=action, place=self.options.place) from error
        finally:
            self._calls -= 1
            if not self._calls:
                self._idle.set()
