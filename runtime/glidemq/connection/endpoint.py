"""Where to connect: the options as they are, or the socket of an embedded server, made to run first."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from glidemq.config import ConnectionOptions
from glidemq.errors import ConnectionError, ProcessError

if TYPE_CHECKING:
    from glidemq.embedded import EmbeddedServer

_logger = logging.getLogger("glidemq.connection")

# Long enough for a server that must first load a large append-only file.
EMBEDDED_START_TIMEOUT_S = 30.0


class Endpoint:
    """Turns options into options that name a server which runs.

    Owns: a hold on the embedded server, if the options ask for one. Stops when: released.
    """

    def __init__(self, options: ConnectionOptions) -> None:
        self._options = options
        self._embedded: EmbeddedServer | None = None

    async def reach(self) -> ConnectionOptions:
        """Options with an address or a socket.

        Raises ConfigurationError when there can be no embedded server, ConnectionError when it does not
        start.
        """
        if self._options.embedded is None:
            return self._options
        if self._embedded is None:
            from glidemq.embedded import EmbeddedServer

            self._embedded = EmbeddedServer.acquire(self._options.embedded)
        try:
            await self._embedded.wait_ready_async(EMBEDDED_START_TIMEOUT_S)
        except ProcessError as error:
            raise ConnectionError(str(error)) from error
        return self._options.with_socket(self._embedded.socket)

    async def revive(self) -> None:
        """Start an embedded server again that has died, as nobody else would; otherwise nothing."""
        if self._embedded is not None:
            try:
                self._embedded.poll()
            except ProcessError as error:
                _logger.warning("%s; trying again", error)

    def release(self) -> None:
        """Give up the hold. May be called twice."""
        if self._embedded is not None:
            self._embedded.release()
            self._embedded = None
