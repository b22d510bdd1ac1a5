"""A shared client in the hands of a worker."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Final, TypeVar

from glidemq.commands.command import Command
from glidemq.connection import SharedClient
from glidemq.errors import (
    AuthenticationError,
    ClosedError,
    ConnectionError,
    UnknownOutcomeError,
    ValidationError,
)

R = TypeVar("R")

UNREACHABLE: Final = (
    "Shared command client is unreachable. The client owner must handle reconnection."  # the documented text
)


class BorrowedClient:
    """Passes calls on to a client that somebody else owns, and never closes it.

    When it cannot be reached, or was closed under the worker's feet, the error says whose business that is.
    Stops when: its worker does; the client goes on.
    """

    def __init__(self, client: SharedClient) -> None:
        if not isinstance(client, SharedClient):  # pyright: ignore[reportUnnecessaryIsInstance] - users err
            raise ValidationError(
                f"`client` must be an open SharedClient, not {type(client).__name__}:"
                " make one with `await SharedClient.connect(…)`"
            )
        self._client = client
        self.gone = False
        """Whether the owner has closed the client, so that it will never answer again."""

    async def execute(self, command: Command[R]) -> R:
        """Execute one command; see `Connection.execute`."""
        return await self._explained(self._client.execute(command))

    async def call(self, function: str, queue_key: str, arguments: bytes, *, replayable: bool) -> bytes:
        """Call a server function; see `Connection.call`."""
        return await self._explained(self._client.call(function, queue_key, arguments, replayable=replayable))

    async def unblock_client(self, client_id: int, *, key: str) -> bool:
        """End another connection's blocking read; see `CommandConnection.unblock_client`."""
        return await self._explained(self._client.unblock_client(client_id, key=key))

    async def close(self) -> None:
        """Do nothing: the client's owner closes it."""

    async def _explained(self, call: Awaitable[R]) -> R:
        try:
            return await call
        except AuthenticationError:
            raise
        except UnknownOutcomeError as error:
            raise UnknownOutcomeError(f"{UNREACHABLE} ({error})") from error
        except ConnectionError as error:
            raise ConnectionError(f"{UNREACHABLE} ({error})") from error
        except ClosedError as error:
            self.gone = True
            raise ConnectionError(f"{UNREACHABLE} ({error})") from error
