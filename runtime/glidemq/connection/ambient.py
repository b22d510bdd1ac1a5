"""The connection that a process already has, for code that does not say which one it wants.

In an actor process a `Queue` without `connection` or `client` uses this one: its commands ride the ring to the gateway,
so that processors cost the server no connections of their own.
"""

from __future__ import annotations

from glidemq.connection.connection import Connection

_provided: Connection | None = None


def provide_connection(connection: Connection) -> None:
    """Make this process's own connection the default; called once, by the process that owns it."""
    global _provided
    _provided = connection


def provided_connection() -> Connection | None:
    """The process's own connection; None where everybody brings one."""
    return _provided
