"""The open connection that several objects borrow and none of them closes."""

from __future__ import annotations

from glidemq.config import ConnectionOptions, resolve_connection
from glidemq.connection.command_connection import CommandConnection


class SharedClient(CommandConnection):
    """A connection to hand to queues and workers as `client=`; whoever made it closes it, after them.

        async with await SharedClient.connect("valkey://localhost") as client:
            async with Queue("thumbnails", client=client) as queue: ...

    It may be made without `connect` too, and connects at its first use then.

    connection: a URL, options, or the default as for `Queue`. client_name: what the server lists it as.

    Stops when: its owner calls `close()`. Borrowers never do. Raises ConfigurationError for a malformed URL.
    """

    def __init__(
        self, connection: str | ConnectionOptions | None = None, *, client_name: str | None = None
    ) -> None:
        super().__init__(resolve_connection(connection), client_name=client_name)

    def __repr__(self) -> str:
        return f"<SharedClient at {self.options.place}>"

    @classmethod
    async def connect(
        cls, connection: str | ConnectionOptions | None = None, *, client_name: str | None = None
    ) -> SharedClient:
        """Open a connection to what `connection` names: a URL, options, or the default as for `Queue`.

        Raises ConfigurationError and ConnectionError, before any borrower meets them.
        """
        client = cls(connection, client_name=client_name)
        await client.open()
        return client
