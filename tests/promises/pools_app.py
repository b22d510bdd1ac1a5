"""Live and batch work, kept apart by pools, or sharing one by weights."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from glidemq import App, SyncJob
from tests.testkit.effects import DIRECTORY_VARIABLE

app = App()
live = app.pool("live", procs=1)
app.pool("batch", procs=2)


@app.processor("live", pool=live)
def answer(job: SyncJob[Any, int]) -> int:
    return os.getpid()


@app.processor("batch", pool="batch")
def wait_for_permission(job: SyncJob[Any, int]) -> int:
    """Occupies its process until the test lets it go."""
    permission = Path(os.environ[DIRECTORY_VARIABLE]) / "go"
    while not permission.exists():
        time.sleep(0.005)
    return os.getpid()


def spin(job: SyncJob[Any, str]) -> str:
    """20 ms of work, and whose it was."""
    until = time.monotonic() + 0.02
    while time.monotonic() < until:
        pass
    return job.name


weighted = App()
weighted.processor("heavy", weight=4)(spin)
weighted.processor("light", weight=1)(spin)
