"""TLS, ended by a terminator in front of a real server: who is trusted, and who is not let in."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from glidemq.config import ConnectionOptions
from glidemq.connection import SharedClient
from glidemq.errors import ConfigurationError, ConnectionError
from tests.testkit.server import ValkeyServer

FILES = Path(__file__).parent / "tls"
AUTHORITY, STRANGER = str(FILES / "authority.pem"), str(FILES / "stranger.pem")
CLIENT = {"tls_certificate": str(FILES / "client.pem"), "tls_key": str(FILES / "client.key")}


@contextlib.asynccontextmanager
async def terminator(server: ValkeyServer, *, asks_for_certificate: bool = False) -> AsyncIterator[int]:
    """The port of a TLS endpoint that passes everything on to the server's Unix socket."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(FILES / "server.pem", FILES / "server.key")
    if asks_for_certificate:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(AUTHORITY)
    writers: list[asyncio.StreamWriter] = []

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, ssl.SSLError):
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
        sink.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_unix_connection(str(server.socket))
        writers.extend((writer, inner_writer))
        await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))

    listener = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        for writer in writers:
            writer.close()


async def connects(port: int, **options: Any) -> bool:
    url = f"valkeys://127.0.0.1:{port}"
    try:
        client = await SharedClient.connect(
            ConnectionOptions.from_url(url, connection_timeout=1.0, **options)
        )
    except ConnectionError:
        return False
    await client.ping()
    await client.close()
    return True


async def test_a_server_whose_authority_is_named_is_trusted(server: ValkeyServer) -> None:
    async with terminator(server) as port:
        assert await connects(port, tls_ca=AUTHORITY)


@pytest.mark.parametrize("authority", [None, STRANGER])
async def test_a_server_of_another_authority_is_not_trusted(
    server: ValkeyServer, authority: str | None
) -> None:
    async with terminator(server) as port:
        assert not await connects(port, tls_ca=authority)


async def test_insecure_mode_trusts_everybody(server: ValkeyServer) -> None:
    async with terminator(server) as port:
        assert await connects(port, tls_insecure=True)


async def test_mutual_tls_lets_in_those_with_a_certificate_only(server: ValkeyServer) -> None:
    async with terminator(server, asks_for_certificate=True) as port:
        assert await connects(port, tls_ca=AUTHORITY, **CLIENT)
        assert not await connects(port, tls_ca=AUTHORITY)


async def test_a_plain_connection_to_a_tls_port_fails_with_one_line(server: ValkeyServer) -> None:
    async with terminator(server) as port:
        with pytest.raises(ConnectionError, match="did not answer"):
            await SharedClient.connect(f"valkey://127.0.0.1:{port}?connection_timeout=500ms")


@pytest.mark.parametrize("member", ["tls_ca", "tls_certificate", "tls_key"])
async def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, member: str) -> None:
    missing = str(tmp_path / "missing.pem")
    options: dict[str, Any] = {"tls_ca": AUTHORITY, **CLIENT, member: missing}
    with pytest.raises(ConfigurationError, match=f"{member}: cannot read .*missing.pem.*: No such file"):
        await SharedClient.connect(ConnectionOptions.from_url("valkeys://127.0.0.1:1", **options))
