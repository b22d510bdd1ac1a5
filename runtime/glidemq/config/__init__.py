"""Configuration: where the server is, and how the runtime behaves. Pure values and pure functions."""

from __future__ import annotations

from glidemq.config.connection_options import ConnectionOptions, ReadFrom
from glidemq.config.durations import SLIP_SECONDS, duration_s, parse_duration
from glidemq.config.resolution import resolve_connection
from glidemq.config.runtime_config import RuntimeConfig
from glidemq.config.settings_loader import LoadedConfig, SettingRow, load_runtime_config

__all__ = [
    "SLIP_SECONDS",
    "ConnectionOptions",
    "LoadedConfig",
    "ReadFrom",
    "RuntimeConfig",
    "SettingRow",
    "duration_s",
    "load_runtime_config",
    "parse_duration",
    "resolve_connection",
]
