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


# An app that is edited while it is served: a file says which version of it is imported.
edited = App()
edited.pool("first", procs=1)
edited.pool("second", procs=2)
MOVED = "the queue has moved to the other pool"
directory = os.environ.get(DIRECTORY_VARIABLE)
has_moved = directory is not None and (Path(directory) / MOVED).exists()
edited.processor("moving", pool="second" if has_moved else "first")(answer)
edited.processor("staying", pool="second")(answer)
