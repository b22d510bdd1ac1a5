"""Connections to the server. Importing this package does not import valkey-glide; connecting does."""

from __future__ import annotations

from glidemq.connection.command_connection import CommandConnection
from glidemq.connection.connection import Connection, UnblockingConnection
from glidemq.connection.reader_connection import ReaderConnection, StreamEntry
from glidemq.connection.shared_client import SharedClient

__all__ = [
    "CommandConnection",
    "Connection",
    "ReaderConnection",
    "SharedClient",
    "StreamEntry",
    "UnblockingConnection",
]
