"""An app whose queues the test names; the name of a job says what it does."""

from __future__ import annotations

import os
from typing import Any

from glidemq import App, Job, SyncJob
from tests.cluster import coroutine_deeds, plain_deeds
from tests.testkit.effects import DIRECTORY_VARIABLE, EffectsWriter

QUEUES_VARIABLE = "CLUSTER_QUEUES"
PLAIN_QUEUES_VARIABLE = "CLUSTER_PLAIN_QUEUES"
CONCURRENCY = 4
LIMITS: dict[str, Any] = {"backoff_strategies": {"at-once": lambda _attempts, _error: 0.01}}

effects = EffectsWriter()


async def process(job: Job[Any, Any]) -> Any:
    effects.started(job)
    try:
        deed = coroutine_deeds.DEEDS.get(job.name)
        return plain_deeds.ALIKE[job.name](job) if deed is None else await deed(job)
    finally:
        effects.finished(job)


def process_plainly(job: SyncJob[Any, Any]) -> Any:
    effects.started(job)
    try:
        return plain_deeds.DEEDS[job.name](job)
    finally:
        effects.finished(job)


def named_by(variable: str) -> list[str]:
    """Queues that are served; none but in a runtime under test, which has a place for what the jobs write."""
    return os.environ.get(variable, "").split(",") if DIRECTORY_VARIABLE in os.environ else []


app = App()
for name in filter(None, named_by(QUEUES_VARIABLE)):
    app.processor(name, concurrency=CONCURRENCY, **LIMITS)(process)
for name in filter(None, named_by(PLAIN_QUEUES_VARIABLE)):
    app.processor(name, **LIMITS)(process_plainly)
