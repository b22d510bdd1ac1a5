"""What everything above this layer knows of a server: something that executes commands."""

from __future__ import annotations

from typing import Protocol, TypeVar

from glidemq.commands.command import Command

R = TypeVar("R")


class Connection(Protocol):
    """Executes commands, directly or at the other end of a ring.

    Stops when: `close()` is called; calls in flight are finished first, and later ones raise ClosedError.
    """

    async def execute(self, command: Command[R]) -> R:
        """Execute one command and return its parsed reply.

        Raises ConnectionError when the command was surely not executed, UnknownOutcomeError when it was
        executed 0 or 1 times, QueueFullError when the server has no memory for it, ClosedError after
        `close()`, and whatever the command's `parse_reply` makes of a status.
        """
        ...

    async def call(self, function: str, queue_key: str, arguments: bytes, *, replayable: bool) -> bytes:
        """Call a server function and return its reply undecoded, to be passed on. Raises the same."""
        ...

    async def close(self) -> None:
        """Finish the calls in flight and disconnect. May be called twice."""
        ...


class UnblockingConnection(Connection, Protocol):
    """A connection that can also end the blocking read of another one."""

    async def unblock_client(self, client_id: int, *, key: str) -> bool:
        """End the blocking read of the client with this id; see `CommandConnection.unblock_client`."""
        ...
