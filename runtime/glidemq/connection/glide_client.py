"""Opens clients of valkey-glide, which is never imported at module level: that costs half a second."""

from __future__ import annotations

import asyncio
import importlib
import importlib.metadata
import os
import re
import socket
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from glidemq.config import ConnectionOptions
from glidemq.errors import ConfigurationError, ConnectionError, GlideMQError

if TYPE_CHECKING:
    from glide import ServerCredentials, TlsAdvancedConfiguration

# Reconnects after 20, 40, … 640 ms (±20 %): the client's default waits up to 3.2 s, measured 2.8 s after the
# server was back.
RECONNECT_ATTEMPTS, RECONNECT_FACTOR_MS, RECONNECT_BASE = 5, 20, 2
_NAME = re.compile(r"[!-~]+")
_PROBE_TIMEOUT_S = 0.5


class GlideApi(Protocol):
    """The part of glide's clients, standalone and cluster, that is used here, typed as it is used."""

    async def fcall(self, function: str, keys: list[str], arguments: list[bytes]) -> bytes: ...
    async def exec(self, batch: Any, raise_on_error: bool) -> list[bytes | Exception]: ...
    async def xread(self, keys_and_ids: Mapping[str, str], options: Any) -> Any: ...
    async def xreadgroup(
        self, keys_and_ids: Mapping[str, str], group_name: str, consumer_name: str, options: Any
    ) -> Any: ...
    async def custom_command(self, command_args: list[str | bytes], route: Any = ...) -> Any: ...
    async def ping(self) -> bytes: ...
    async def close(self) -> None: ...


async def open_client(options: ConnectionOptions, client_name: str) -> GlideApi:
    """Make a client, connect it and see it answer, without blocking the event loop.

    `options` must say an address or a socket; an embedded server has been turned into its socket before.
    Raises ConnectionError (unreachable), AuthenticationError or ConfigurationError (TLS files).
    """
    if not _NAME.fullmatch(client_name):
        raise ConfigurationError(f"a client name must be printable ASCII without spaces, not {client_name!r}")
    await _import_glide()
    from glide import GlideError

    client = await _make_client(options, client_name)
    try:
        # A plain create blocks the loop for as long as the server is mute; a lazy one connects at the first
        # command.
        await client.ping()
    except BaseException as error:
        await client.close()
        if isinstance(error, GlideError):
            raise await _explain(error, options) from None
        raise
    return client


async def _import_glide() -> None:
    """Import glide in a thread of its own, so that the loop goes on turning meanwhile."""
    if "glide" in sys.modules:
        return
    loop = asyncio.get_running_loop()
    imported: asyncio.Future[None] = loop.create_future()

    def report(error: BaseException | None) -> None:
        if imported.done():  # whoever waited was cancelled
            return
        if error is None:
            imported.set_result(None)
        else:
            imported.set_exception(error)

    def run() -> None:
        try:
            importlib.import_module("glide")
        except BaseException as error:
            loop.call_soon_threadsafe(report, error)
        else:
            loop.call_soon_threadsafe(report, None)

    threading.Thread(target=run, name="glidemq-import", daemon=True).start()
    await imported


async def _make_client(options: ConnectionOptions, client_name: str) -> GlideApi:
    import glide

    # The Rust core logs to standard error by default, past every logging setting of the application; what it
    # has to say arrives as exceptions too. An application that has configured it keeps its choice.
    glide.Logger.init(glide.LogLevel.OFF)
    common: dict[str, Any] = {
        "addresses": _addresses(options),
        "use_tls": options.tls,
        "credentials": _credentials(options),
        "read_from": glide.ReadFrom[options.read_from.upper()],
        "request_timeout": _ms(options.request_timeout),
        "reconnect_strategy": glide.BackoffStrategy(
            RECONNECT_ATTEMPTS, RECONNECT_FACTOR_MS, RECONNECT_BASE, 20
        ),
        "database_id": options.database,
        "client_name": client_name,
        "inflight_requests_limit": options.inflight_requests_limit,
        "client_az": options.client_az,
        # Shown in CLIENT LIST as lib-name=GlidePy(glidemq:…).
        "client_info_tag": f"glidemq:{importlib.metadata.version('glidemq')}",
        "lazy_connect": True,
    }
    tls = _tls(options)
    timeout_ms = _ms(options.connection_timeout)
    if options.cluster:
        advanced = glide.AdvancedGlideClusterClientConfiguration(
            connection_timeout=timeout_ms, tls_config=tls
        )
        cluster = glide.GlideClusterClientConfiguration(**common, advanced_config=advanced)
        return cast(GlideApi, await glide.GlideClusterClient.create(cluster))
    advanced_standalone = glide.AdvancedGlideClientConfiguration(
        connection_timeout=timeout_ms, tls_config=tls
    )
    standalone = glide.GlideClientConfiguration(**common, advanced_config=advanced_standalone)
    return cast(GlideApi, await glide.GlideClient.create(standalone))


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def _addresses(options: ConnectionOptions) -> list[Any]:
    from glide import NodeAddress

    if options.socket is not None:
        return [NodeAddress(unix_socket_path=options.socket)]
    return [NodeAddress(host, port) for host, port in options.addresses]


def _credentials(options: ConnectionOptions) -> ServerCredentials | None:
    from glide import ServerCredentials

    if options.password is not None:
        return ServerCredentials(password=options.password, username=options.username)
    if options.username is not None:
        raise ConfigurationError(f"the user {options.username!r} needs a password: set GLIDEMQ_PASSWORD_FILE")
    return None


def _tls(options: ConnectionOptions) -> TlsAdvancedConfiguration | None:
    from glide import TlsAdvancedConfiguration

    if not options.tls:
        return None
    authorities = _readable(options.tls_ca, "tls_ca").read_bytes() if options.tls_ca is not None else None
    certificate = options.tls_certificate and str(_readable(options.tls_certificate, "tls_certificate"))
    key = options.tls_key and str(_readable(options.tls_key, "tls_key"))
    return TlsAdvancedConfiguration(
        use_insecure_tls=options.tls_insecure or None,
        root_pem_cacerts=authorities,
        client_cert_path=certificate,
        client_key_path=key,
    )


def _readable(name: str, member: str) -> Path:
    path = Path(name)
    try:
        if not path.read_bytes():
            raise ConfigurationError(f"{member}: {name!r} is empty")
    except OSError as error:
        raise ConfigurationError(f"{member}: cannot read {name!r}: {error.strerror}") from None
    return path


async def _explain(error: BaseException, options: ConnectionOptions) -> GlideMQError:
    """Turn a failed first PING into an error that says why; glide itself says "timed out" for most causes."""
    from glidemq.connection.error_mapping import Verdict, classify

    failure = classify(error, action="connecting", place=options.place)
    if failure.verdict is Verdict.FINAL:
        return failure.error
    reason = await _unreachable_reason(options)
    return ConnectionError(f"{options.place} cannot be reached: {reason}")


async def _unreachable_reason(options: ConnectionOptions) -> str:
    """Try a bare connection once more, only to learn what the operating system has to say about it."""
    try:
        async with asyncio.timeout(_PROBE_TIMEOUT_S):
            if options.socket is not None:
                _, writer = await asyncio.open_unix_connection(options.socket)
            else:
                _, writer = await asyncio.open_connection(*options.addresses[0])
        writer.close()
    except TimeoutError:
        return f"no answer within {options.connection_timeout:g} s"
    except socket.gaierror as error:
        return (error.strerror or str(error)).lower()
    except OSError as error:
        return (os.strerror(error.errno) if error.errno else str(error)).lower()
    causes = "is it busy, or do TLS and its certificates not match?" if options.tls else "is it busy?"
    return f"it accepts connections but did not answer within {options.connection_timeout:g} s ({causes})"
