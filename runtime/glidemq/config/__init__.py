"""Configuration: where the server is, and how the runtime behaves. Pure values and pure functions."""

from __future__ import annotations

from glidemq.config.connection_options import ConnectionOptions, ReadFrom
from glidemq.config.durations import duration_s, parse_duration
from glidemq.config.resolution import resolve_connection

__all__ = [
    "ConnectionOptions",
    "ReadFrom",
    "duration_s",
    "parse_duration",
    "resolve_connection",
]
