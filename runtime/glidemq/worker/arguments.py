"""What a worker makes of its arguments, and nobody else."""

from __future__ import annotations

import os
import secrets
import socket
from typing import Literal

from glidemq.config import ConnectionOptions
from glidemq.connection import SharedClient
from glidemq.connection.reader_connection import MAX_BLOCK_MS
from glidemq.errors import ValidationError
from glidemq.options import Duration, duration_ms
from glidemq.worker.borrowed_client import BorrowedClient


def borrowed_client(
    client: SharedClient | None,
    command_client: SharedClient | None,
    connection: str | ConnectionOptions | None,
) -> BorrowedClient | None:
    """The open connection that a worker is to use, if it is given one; a ValidationError for impossible mixtures."""
    if client is not None and command_client is not None:
        raise ValidationError("Provide either `client` or `command_client`, not both.")
    borrowed = client if client is not None else command_client
    if borrowed is not None and connection is None:
        raise ValidationError(
            "Worker always requires `connection` even when `command_client` is provided, because the blocking"
            " client must be auto-created."
        )
    return None if borrowed is None else BorrowedClient(borrowed)


def worker_id() -> str:
    """A name that no other worker has, which tells where it runs."""
    return f"py-{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"


def interval_s(value: Duration, name: Literal["promotion_interval", "stalled_interval"]) -> float:
    """Seconds of an interval, else a ValidationError."""
    return duration_ms(value, name, positive=True, bare_limit=True) / 1000


def block_s(value: Duration) -> float:
    """Seconds of the longest blocking read, else a ValidationError: one that lasts notices a dead server late."""
    block_ms = duration_ms(value, "block", positive=True, bare_limit=True)
    if block_ms > MAX_BLOCK_MS:
        raise ValidationError(f"block must be at most {MAX_BLOCK_MS / 1000:g} seconds")
    return block_ms / 1000


def whole(value: int, name: str, least: int) -> int:
    """`value` if it is an integer of at least `least`, else a ValidationError."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ValidationError(f"{name} must be an integer of at least {least}")
    return value
