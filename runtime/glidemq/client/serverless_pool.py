"""Producers that outlive the call of a serverless function, so that warm calls connect no more."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import secrets
from collections.abc import Hashable
from typing import Any, Final, NamedTuple

from glidemq.client.producer import Producer
from glidemq.commands.keys import DEFAULT_PREFIX
from glidemq.config import ConnectionOptions, resolve_connection
from glidemq.connection import Connection
from glidemq.connection.ambient import provided_connection
from glidemq.payload.compression import CompressionName
from glidemq.serializer import JSON_SERIALIZER, Serializer

_CREDENTIALS: Final = frozenset({"username", "password"})


class _Pooled(NamedTuple):
    producer: Producer[Any]
    loop: asyncio.AbstractEventLoop


class ServerlessPool:
    """Hands out one `Producer` per queue, server and settings, however often it is asked.

        producer = serverless_pool.get_producer("emails", connection=url)
        await producer.add("welcome", {"to": address})

    A producer belongs to an event loop: a handler that starts a new one for every call gets a new producer in
    each, and should `close_all()` before the loop ends.
    Owns: the producers that it made and kept. Stops when: `close_all()` is called; it may be used again after.
    Source: features page, section 23.
    """

    def __init__(self) -> None:
        self._pooled: dict[Hashable, _Pooled] = {}
        # Keys stay in memory and may show up in a dump, so they hold a digest of the credentials that is of no
        # use anywhere else.
        self._secret = secrets.token_bytes(32)

    def get_producer(
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
    ) -> Producer[Any]:
        """The producer with these settings, as for `Producer`; made at the first call, without I/O.

        With `client` or a serializer of one's own there is nothing to tell two settings apart by: a new
        producer each time, which the caller closes.

        Raises ValidationError and ConfigurationError as `Producer` does; RuntimeError outside an event loop.
        """
        loop = asyncio.get_running_loop()
        kept = client is None and serializer is JSON_SERIALIZER
        server: Hashable = "provided"
        if kept and (connection is not None or provided_connection() is None):
            connection = resolve_connection(connection)
            server = self._server(connection)
        key = (name, prefix, server, compression or "none", events, max_waiting, id(loop))
        self._forget_the_dead()
        pooled = self._pooled.get(key) if kept else None
        if pooled is not None:
            return pooled.producer
        producer = Producer[Any](
            name,
            connection=connection,
            client=client,
            prefix=prefix,
            serializer=serializer,
            compression=compression,
            events=events,
            max_waiting=max_waiting,
        )
        if kept:
            self._pooled[key] = _Pooled(producer, loop)  # the loop is held, so that no other gets its id
        return producer

    def __repr__(self) -> str:
        return f"<ServerlessPool of {self.size} producers>"

    @property
    def size(self) -> int:
        """How many producers are kept open."""
        self._forget_the_dead()
        return len(self._pooled)

    async def close_all(self) -> None:
        """Close the producers of the running event loop, and let go of those whose loop has ended."""
        loop = asyncio.get_running_loop()
        self._forget_the_dead()
        mine = [key for key, pooled in self._pooled.items() if pooled.loop is loop]
        closing = [self._pooled.pop(key).producer.close() for key in mine]
        await asyncio.gather(*closing)

    def _server(self, options: ConnectionOptions) -> Hashable:
        settings = tuple(
            (member.name, getattr(options, member.name))
            for member in dataclasses.fields(options)
            if member.name not in _CREDENTIALS
        )
        credentials = repr((options.username, options.password)).encode()
        return settings, hashlib.blake2b(credentials, key=self._secret, digest_size=16).digest()

    def _forget_the_dead(self) -> None:
        """Drop what was closed from outside, and what belongs to a loop that is no more."""
        dead = [
            key
            for key, pooled in self._pooled.items()
            if pooled.producer.is_closed or pooled.loop.is_closed()
        ]
        for key in dead:
            del self._pooled[key]


serverless_pool: Final = ServerlessPool()
"""The pool of this process."""
