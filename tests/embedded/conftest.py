"""Directories for embedded servers of which nothing may be left."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.embedded.holder_process import kill_everything, processes_of, wait_until


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory that does not exist yet, short enough for a socket; no process may outlive the test."""
    parent = Path(tempfile.mkdtemp(prefix="gmq-"))
    path = parent / ".glidemq"
    yield path
    try:
        wait_until(lambda: not processes_of(path))
    finally:
        kill_everything(path)
        shutil.rmtree(parent)
