"""Which connection an object talks over, and whether it is to be closed by it."""

from __future__ import annotations

from glidemq.config import ConnectionOptions, resolve_connection
from glidemq.connection import CommandConnection, Connection
from glidemq.connection.ambient import provided_connection
from glidemq.errors import ValidationError


def choose_connection(
    connection: str | ConnectionOptions | None, client: Connection | None
) -> tuple[Connection, CommandConnection | None]:
    """The connection to use, and the same again if it was made here, so that its user closes it. Does no I/O.

    connection, client: as for `Queue`. Raises ValidationError and ConfigurationError.
    """
    if client is not None and connection is not None:
        raise ValidationError("Provide either `connection` or `client`, not both.")
    if client is not None and not hasattr(client, "execute"):
        raise ValidationError(
            f"`client` must be an open SharedClient, not {type(client).__name__}:"
            " make one with `await SharedClient.connect(…)`"
        )
    if client is None and connection is None:
        client = provided_connection()
    if client is not None:
        return client, None
    owned = CommandConnection(resolve_connection(connection))
    return owned, owned


def whereabouts(connection: object) -> str:
    """Where a connection leads to, for the `repr` of what uses it; without user and password."""
    options = getattr(connection, "options", None)  # one that a supervisor lends does not know
    return f" at {options.place}" if isinstance(options, ConnectionOptions) else ""
