"""A connection for blocking reads alone: nothing else could be sent while one is in progress."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from glidemq.config import ConnectionOptions
from glidemq.connection.endpoint import Endpoint
from glidemq.connection.error_mapping import read_error
from glidemq.connection.glide_client import open_client
from glidemq.connection.server_commands import ServerCommands
from glidemq.errors import ClosedError, ConnectionError, ValidationError

if TYPE_CHECKING:
    from glidemq.connection.connection import UnblockingConnection
    from glidemq.connection.glide_client import GlideApi

# The consumer group of every job stream, part of the wire contract.
GROUP = "workers"
# A read that blocks for ever never notices a half-open connection; a bounded one does, half a second late.
MAX_BLOCK_MS = 10_000
# How long `unblock` gives a read that is just being sent to arrive: 63 ms in all.
_UNBLOCK_PAUSES_S = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032)


class StreamEntry(NamedTuple):
    """One entry of a stream. `fields` is empty for an entry that was deleted while it was pending."""

    stream: str
    entry_id: bytes
    fields: dict[bytes, bytes]


class ReaderConnection:
    """Reads streams, waiting for new entries, one read at a time.

    A read that its caller abandons (cancellation) goes on, since the server would deliver to it all the same;
    the next read returns its entries, whatever it asks for. To end a read early, `unblock` it.
    Owns: one glide client, connected at first use. Stops when: `close()` is called; a read in progress then
    raises ClosedError at once, and the server forgets it.
    """

    def __init__(self, options: ConnectionOptions, *, client_name: str | None = None) -> None:
        self.options = options
        self._endpoint = Endpoint(options)
        self._client_name = client_name or "glidemq-reader"
        self._client: GlideApi | None = None
        self._commands: ServerCommands | None = None
        self._closed = False
        self._opening = asyncio.Lock()
        # The connection's id on the server, for CLIENT UNBLOCK, by what is read: every node of a cluster gives its
        # own. Forgotten when it may have changed.
        self._client_ids: dict[str, int] = {}
        self._read: asyncio.Task[list[StreamEntry]] | None = None
        self._read_awaited = False
        self._blocked_on: str | None = None
        # Reads that failed. Each may have been delivered entries whose reply was lost: their owner must look
        # for them among the consumer's pending entries.
        self.failures = 0

    async def open(self) -> None:
        """Connect now rather than at the first read. Raises as `CommandConnection.open` does."""
        self._check_open()
        async with self._opening:
            if self._client is not None:
                return
            client = await open_client(await self._endpoint.reach(), self._client_name)
            try:
                self._check_open()  # it may have been closed while it connected
            except ClosedError:
                await client.close()
                raise
            self._client = client
            self._commands = ServerCommands(client, cluster=self.options.cluster)

    async def read_group(
        self, consumer: str, streams: Sequence[str], *, block_ms: int, count: int = 1, group: str = GROUP
    ) -> list[StreamEntry]:
        """Claim up to `count` new entries per stream for `consumer`, waiting up to `block_ms` for one.

        Empty when the time is up or the read was unblocked. In cluster mode all streams must share a slot.
        Raises GroupMissingError when any stream or group is gone (the read as a whole fails), ServerError
        with code WRONGTYPE when any key is no stream, ConnectionError when the outcome is not known: entries
        may then be pending for `consumer`. Only one read at a time.
        """
        _check_block(block_ms)

        def request(client: GlideApi) -> Awaitable[Any]:
            from glide import StreamReadGroupOptions  # imported by now: a client exists

            options = StreamReadGroupOptions(block_ms=block_ms, count=count)
            return client.xreadgroup(dict.fromkeys(streams, ">"), group, consumer, options)

        return await self._run(request, streams[0], f"reading {len(streams)} job streams")

    async def read_stream(
        self, streams: Mapping[str, str], *, block_ms: int, count: int
    ) -> list[StreamEntry]:
        """Entries after the given ids (`$`: those to come), outside any group; else as `read_group`."""
        _check_block(block_ms)

        def request(client: GlideApi) -> Awaitable[Any]:
            from glide import StreamReadOptions

            options = StreamReadOptions(block_ms=block_ms, count=count)
            return client.xread(dict(streams), options)

        return await self._run(request, next(iter(streams)), f"reading {len(streams)} event streams")

    async def newest_entry_id(self, stream: str) -> str:
        """The id of the stream's last entry, `0-0` if it has none: reading on from there misses nothing.

        Raises as `read_stream` does.
        """
        await self.open()
        assert self._commands is not None
        try:
            return (await self._commands.newest_entry_id(stream)).decode()
        except Exception as error:
            raise read_error(error, action=f"reading {stream}", place=self.options.place) from error

    async def unblock(self, via: UnblockingConnection) -> bool:
        """Let the read in progress return now. False if there was none, or it ended by itself."""
        read = self._read
        if read is None:
            return False
        for pause_s in _UNBLOCK_PAUSES_S:
            if read.done():
                return False
            key = self._blocked_on
            client_id = None if key is None else self._client_ids.get(self._scope(key))
            if client_id is not None and key is not None and await via.unblock_client(client_id, key=key):
                return True
            # Not yet sent, or on its way: UNBLOCK takes another connection and may arrive first.
            await asyncio.wait([read], timeout=pause_s)
        if not read.done():
            self._client_ids.clear()  # not this connection's any more: it must have reconnected silently
        return False

    def _scope(self, key: str) -> str:
        return key if self.options.cluster else ""

    async def close(self) -> None:
        """Disconnect at once. May be called twice."""
        self._closed = True
        if self._client is not None:
            await self._client.close()
        read = self._read
        if read is not None:
            await asyncio.wait([read])
            if not read.cancelled():
                read.exception()  # its caller may have abandoned it: nobody else asks
        self._endpoint.release()

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError("the reader is closed")

    async def _run(
        self, request: Callable[[GlideApi], Awaitable[Any]], key: str, action: str
    ) -> list[StreamEntry]:
        self._check_open()
        if self._read_awaited:
            raise RuntimeError("a reader connection runs one read at a time")
        if self._read is None:
            self._read = asyncio.create_task(self._exchange(request, key, action), name="glidemq-read")
        read = self._read
        self._read_awaited = True
        try:
            await asyncio.wait([read])
        finally:  # cancelled: the read stays, even if it is just done, for the next call to collect
            self._read_awaited = False
        self._read = None
        return read.result()

    async def _exchange(
        self, request: Callable[[GlideApi], Awaitable[Any]], key: str, action: str
    ) -> list[StreamEntry]:
        await self.open()
        assert self._client is not None
        assert self._commands is not None
        try:
            if self._scope(key) not in self._client_ids:
                await self._endpoint.revive()
                client_id = await self._commands.client_id(self._commands.route_of(key))
                self._client_ids[self._scope(key)] = client_id
            self._blocked_on = key
            return _entries(await request(self._client))
        except Exception as error:
            self._client_ids.clear()
            reason = read_error(error, action=action, place=self.options.place)
            if isinstance(reason, ConnectionError):
                self.failures += 1
            raise reason from error
        finally:
            self._blocked_on = None


def _check_block(block_ms: int) -> None:
    if not 1 <= block_ms <= MAX_BLOCK_MS:
        raise ValidationError(f"block_ms must be from 1 to {MAX_BLOCK_MS}, not {block_ms}")


def _entries(reply: Mapping[bytes, Mapping[bytes, list[list[bytes]] | None]] | None) -> list[StreamEntry]:
    if not reply:
        return []
    return [
        StreamEntry(stream.decode(), entry_id, dict(fields or ()))
        for stream, entries in reply.items()
        for entry_id, fields in entries.items()
    ]
