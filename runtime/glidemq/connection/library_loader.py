"""Brings the function library to servers that lack it, and never an older one than they have."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from glidemq.connection.error_mapping import Failure, Verdict, classify, server_code
from glidemq.connection.server_commands import ServerCommands
from glidemq.errors import LibraryVersionError, ServerError

if TYPE_CHECKING:
    from glide import Route

_logger = logging.getLogger("glidemq.connection")


@dataclass(frozen=True, slots=True)
class ServerLibrary:
    """A library as this client brings it: name, monotonic version, Lua source."""

    name: str
    version: int
    source: str

    @classmethod
    def bundled(cls) -> ServerLibrary:
        """The library of this distribution."""
        from glidemq_lua import LIBRARY_NAME, LIBRARY_VERSION, library_source

        return cls(LIBRARY_NAME, LIBRARY_VERSION, library_source())


class LibraryLoader:
    """Ensures the library on the node that missed it; calls that miss it meanwhile wait for the same attempt.

    missing: FUNCTION LOAD without REPLACE, so that of two clients that load at once the second sees "already
    exists" and looks again. older: FUNCTION LOAD REPLACE. newer: used as it is, since every version serves
    the calls of the one before it. Should an older client replace a newer library in the instant between its
    look and its load, the newer one's calls answer "library_outdated", and it is put back.

    A scope is what one attempt covers: a queue's key in a cluster, where a node may lack what the others have
    (a primary that joined by migration), and everything on a standalone server.
    """

    def __init__(self, server: ServerCommands, library: ServerLibrary, *, cluster: bool, place: str) -> None:
        self._server = server
        self._library = library
        self._cluster = cluster
        self._place = place
        self._attempts: dict[str, asyncio.Task[None]] = {}
        self._epochs: dict[str, int] = {}
        # One node after the other: queues that share a node find it loaded.
        self._turn = asyncio.Lock()

    def epoch(self, key: str) -> int:
        """Completed attempts for a key's scope; a call notes it when it is sent."""
        return self._epochs.get(self._scope(key), 0)

    async def ensure(self, key: str, refused_at_epoch: int) -> None:
        """Have the library where a key lives, unless that happened since a call was sent, in this epoch.

        Raises LibraryVersionError when the server keeps it from being loaded, ConnectionError when the server
        cannot be asked (nothing is then known; ask again), QueueFullError when it has no memory for it.
        """
        scope = self._scope(key)
        if self._epochs.get(scope, 0) > refused_at_epoch:
            return
        attempt = self._attempts.get(scope)
        if attempt is None:
            attempt = asyncio.create_task(self._attempt(scope, key), name="glidemq-load-library")
            self._attempts[scope] = attempt
            attempt.add_done_callback(_seen)
        # Shielded: one caller's cancellation must not fail the others.
        await asyncio.shield(attempt)

    def _scope(self, key: str) -> str:
        return key if self._cluster else ""

    async def _attempt(self, scope: str, key: str) -> None:
        try:
            async with self._turn:
                await self._ensure_on(self._server.route_of(key))
            self._epochs[scope] = self._epochs.get(scope, 0) + 1
        finally:
            del self._attempts[scope]

    async def _ensure_on(self, route: Route | None) -> None:
        present = await self._version_on(route)
        if present is None:
            if await self._load(route, replace=False):
                _logger.info(
                    "loaded function library %s version %d", self._library.name, self._library.version
                )
                return
            present = await self._version_on(route)  # somebody else was faster
        if present is not None and present < self._library.version:
            await self._load(route, replace=True)
            _logger.info(
                "replaced function library %s version %d by version %d",
                self._library.name, present, self._library.version,
            )  # fmt: skip

    async def _version_on(self, route: Route | None) -> int | None:
        try:
            return await self._server.library_version(route)
        except Exception as error:
            failure = self._judge(error)
            if failure.verdict is Verdict.LIBRARY_MISSING:
                return None
            raise failure.error from error

    async def _load(self, route: Route | None, *, replace: bool) -> bool:
        """Load the library; False if it is there already. Loading it twice is harmless."""
        try:
            await self._server.load_library(self._library.source, replace=replace, route=route)
        except Exception as error:
            _, message = server_code(str(error))
            if message.startswith(f"Library '{self._library.name}' already exists"):
                return False
            raise self._judge(error).error from error
        return True

    def _judge(self, error: Exception) -> Failure:
        failure = classify(error, action=f"loading function library {self._library.name}", place=self._place)
        if failure.verdict is Verdict.FINAL and isinstance(failure.error, ServerError):
            _, message = server_code(str(error))
            refusal = LibraryVersionError(
                f"{self._place} lacks function library {self._library.name} version {self._library.version}, "
                f"and this client may not load it ({failure.error.code}: {message})"
            )
            return Failure(Verdict.FINAL, refusal)
        return failure


def _seen(attempt: asyncio.Task[None]) -> None:
    """Its error reaches the callers that wait; if none is left, nobody needs to hear of it."""
    if not attempt.cancelled():
        attempt.exception()
