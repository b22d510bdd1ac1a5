"""The supervisor's hold on the embedded server, if the configuration leads to one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from glidemq.config import ConnectionOptions
from glidemq_supervisor.descriptors import DescriptorLedger

if TYPE_CHECKING:
    from glidemq.embedded import EmbeddedServer


class EmbeddedHolder:
    """Keeps the embedded server running from before the first gateway until after the last.

    Without it the server would stop whenever the one gateway that holds it is replaced. Does nothing when a
    real server is configured. Owns: a hold. Stops when: released, or the supervisor dies, which
    releases it too.
    """

    def __init__(self, descriptors: DescriptorLedger) -> None:
        self._descriptors = descriptors
        self._server: EmbeddedServer | None = None
        self._asking = False

    def acquire(self, connection: ConnectionOptions) -> None:
        """Take the hold and let the server start, without waiting; nothing if `connection` is to a real server.

        Raises ConfigurationError when there can be no embedded server here.
        """
        if connection.embedded is None or self._server is not None:
            return
        from glidemq.embedded import EmbeddedServer

        self._server = EmbeddedServer.acquire(connection.embedded)
        self._descriptors.record(*self._server.fds())
        self._asking = True

    @property
    def asking(self) -> bool:
        """While true, poll often and fork nothing: a child would inherit the connection that asks."""
        return self._asking

    def poll(self) -> None:
        """Move on without waiting. Raises ProcessError when the server does not start.

        One that dies later is started again by the gateway, which notices first.
        """
        if self._asking and self._server is not None and self._server.poll():
            self._asking = False

    def release(self) -> None:
        """Let go; the server stops unless somebody else holds it."""
        server, self._server = self._server, None
        if server is not None:
            self._descriptors.forget(*server.fds())
            server.release()
