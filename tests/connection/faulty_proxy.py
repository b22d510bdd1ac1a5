"""A TCP proxy in front of a server that loses what it is told to lose."""

from __future__ import annotations

import asyncio
import contextlib


class FaultyProxy:
    """Passes bytes on, until told otherwise.

    `lose_reply_to`: when a request with these bytes passes, the server gets it, and the connection is cut
    before the client gets the answer; once. `mute`: nothing passes in either direction, and nothing is
    closed: what a pulled cable looks like. Stops when: `stop` is called.
    """

    def __init__(self, socket_path: str) -> None:
        self._socket_path = socket_path
        self._listener: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._passing = asyncio.Event()
        self._passing.set()
        self.lose_reply_to: bytes | None = None

    @property
    def url(self) -> str:
        assert self._listener is not None
        return f"valkey://127.0.0.1:{self._listener.sockets[0].getsockname()[1]}"

    async def start(self) -> None:
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", 0)

    def mute(self) -> None:
        self._passing.clear()

    def unmute(self) -> None:
        self._passing.set()

    async def stop(self) -> None:
        assert self._listener is not None
        self.unmute()
        self._listener.close()
        for writer in list(self._writers):
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_unix_connection(self._socket_path)
        pair = {writer, server_writer}
        self._writers |= pair
        cut = asyncio.Event()
        try:
            await asyncio.gather(
                self._pump(reader, server_writer, cut, upwards=True),
                self._pump(server_reader, writer, cut, upwards=False),
            )
        finally:
            for side in pair:
                side.close()
            self._writers -= pair

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, cut: asyncio.Event, *, upwards: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                await self._passing.wait()
                if cut.is_set():  # the server's answer to what was passed on: it has been executed
                    break
                if upwards and self.lose_reply_to is not None and self.lose_reply_to in data:
                    self.lose_reply_to = None
                    cut.set()
                sink.write(data)
                await sink.drain()
        sink.close()
