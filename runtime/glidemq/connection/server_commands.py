"""The few plain commands that the runtime sends beside function calls, typed, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from glide import Route

    from glidemq.connection.glide_client import GlideApi


class ServerCommands:
    """PING, CLIENT ID and UNBLOCK, SCAN, and what loading a library takes, over one glide client.

    Exceptions of glide pass through unjudged. A `route` is a node of a cluster, None on a standalone server.
    """

    def __init__(self, client: GlideApi, *, cluster: bool) -> None:
        self._client = client
        self._cluster = cluster

    async def ping(self) -> None:
        """One round trip."""
        await self._client.ping()

    async def client_id(self, route: Route | None) -> int:
        """The id that the server gave this client's connection; another one after every reconnect."""
        return int(await self._run(["CLIENT", "ID"], route))

    async def unblock_client(self, client_id: int, route: Route | None) -> bool:
        """End the blocking read of another connection as if its time were up. False if it was not blocked."""
        return int(await self._run(["CLIENT", "UNBLOCK", str(client_id)], route)) == 1

    async def scan(self, pattern: str, *, key: str, count: int) -> AsyncIterator[list[bytes]]:
        """The keys that match a pattern, in portions; of a cluster, those on the node that holds `key`."""
        route = self.route_of(key)
        cursor = b"0"
        while True:
            reply = await self._run(["SCAN", cursor, "MATCH", pattern, "COUNT", str(count)], route)
            cursor, keys = reply
            if keys:
                yield keys
            if cursor == b"0":
                return

    async def newest_entry_id(self, stream: str) -> bytes:
        """The id of a stream's last entry; `0-0` when it has none."""
        reply = await self._run(["XREVRANGE", stream, "+", "-", "COUNT", "1"], self.route_of(stream))
        return next(iter(reply or ()), b"0-0")

    def route_of(self, key: str) -> Route | None:
        """The primary that holds a key, or None on a standalone server."""
        if not self._cluster:
            return None
        from glide import SlotKeyRoute, SlotType

        return SlotKeyRoute(SlotType.PRIMARY, key)

    async def load_library(self, source: str, *, replace: bool, route: Route | None) -> None:
        """FUNCTION LOAD, with REPLACE if asked."""
        await self._run(["FUNCTION", "LOAD", *(["REPLACE"] if replace else []), source], route)

    async def library_version(self, route: Route | None) -> int:
        """What `gmq_version` answers on a node; raises "Function not found" where the library is missing."""
        return int(await self._run(["FCALL", "gmq_version", "0"], route))

    async def _run(self, command: list[Any], route: Route | None) -> Any:
        if route is None:
            return await self._client.custom_command(command)
        return await self._client.custom_command(command, route)
