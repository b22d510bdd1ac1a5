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
    """Ensures the library on every primary; calls that arrive while it does so wait for the same attempt.

    missing: FUNCTION LOAD without REPLACE, so that of two clients that load at once the second sees "already
    exists" and looks again. older: FUNCTION LOAD REPLACE. newer: used as it is, since every version serves
    the calls of the one before it. Should an older client replace a newer library in the instant between its
    look and its load, the newer one's calls answer "library_outdated", and it is put back.
    """

    def __init__(self, server: ServerCommands, library: ServerLibrary, *, place: str) -> None:
        self._server = server
        self._library = library
        self._place = place
        self._attempt: asyncio.Task[None] | None = None
        # Grows with every completed attempt: a call refused before that needs only to be repeated.
        self.epoch = 0

    async def ensure(self, refused_at_epoch: int) -> None:
        """Have the library on every primary, unless that happened since a call was sent, in this epoch.

        Raises LibraryVersionError when the server keeps it from being loaded, ConnectionError when the server
        cannot be asked (nothing is then known; ask again), QueueFullError when it has no memory for it.
        """
        if self.epoch > refused_at_epoch:
            return
        if self._attempt is None:
            self._attempt = asyncio.create_task(self._ensure_everywhere(), name="glidemq-load-library")
            self._attempt.add_done_callback(self._attempt_done)
        # Shielded: one caller's cancellation must not fail the others.
        await asyncio.shield(self._attempt)

    def _attempt_done(self, task: asyncio.Task[None]) -> None:
        self._attempt = None
        if not task.cancelled():
            task.exception()  # seen by the waiting callers, if any are left

    async def _ensure_everywhere(self) -> None:
        try:
            routes = await self._server.primaries(self._library.name)
        except Exception as error:
            raise self._judge(error).error from error
        results = await asyncio.gather(*(self._ensure_on(route) for route in routes), return_exceptions=True)
        errors = [result for result in results if isinstance(result, BaseException)]
        if errors:
            raise errors[0]
        self.epoch += 1

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
