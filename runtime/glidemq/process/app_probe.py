"""A short-lived child that imports the app and says what it serves, so that the supervisor never has to."""

from __future__ import annotations

import os
from typing import Any

import orjson

from glidemq.app_loader import import_app
from glidemq.errors import GlideMQError
from glidemq.process_spec import EXIT_OK, EXIT_USAGE, ProbeSpec


def run(spec: ProbeSpec) -> int:
    """Import the app and write its manifest, or one line that says what is wrong, to the result descriptor."""
    try:
        result = preload(spec.app).manifest(spec.app)
        status = EXIT_OK
    except GlideMQError as error:
        result = {"error": str(error)}
        status = EXIT_USAGE
    _write_all(spec.result_fd, orjson.dumps(result))
    os.close(spec.result_fd)
    return status


def preload(app: str) -> Any:
    """Import and return the app, for the probe and for a zygote that forks actors from it.

    Raises ConfigurationError with one line for everything that can be wrong with a module:app.
    """
    return import_app(app)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
