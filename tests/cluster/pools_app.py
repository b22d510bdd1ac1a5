"""Live and batch work in pools of their own, in queues that the test names: one live queue, a heavy and a light one."""

from __future__ import annotations

import os
import time

from glidemq import App, SyncJob
from tests.cluster.app import PLAIN_QUEUES_VARIABLE, named_by

SPIN_S = 0.02


def answer(job: SyncJob[int, int]) -> int:
    return os.getpid()


def spin(job: SyncJob[int, int]) -> int:
    until = time.monotonic() + SPIN_S
    while time.monotonic() < until:
        pass
    return os.getpid()


app = App()
app.pool("live", procs=1)
app.pool("batch", procs=1)
if names := named_by(PLAIN_QUEUES_VARIABLE):
    live, heavy, light = names
    app.processor(live, pool="live")(answer)
    app.processor(heavy, pool="batch", weight=4)(spin)
    app.processor(light, pool="batch", weight=1)(spin)
