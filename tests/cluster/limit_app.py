"""Queues that share what a provider allows, under names that the test gives: coroutines serve one, plain functions
another.
"""

from __future__ import annotations

import os
from typing import Any

from glidemq import App, Job, RateLimit, SyncJob, TokenLimiter, limits
from tests.cluster.app import PLAIN_QUEUES_VARIABLE, QUEUES_VARIABLE, named_by

KEY_VARIABLE = "CLUSTER_LIMIT_KEY"
TOKENS = 50
MAX_TOKENS, MAX_STARTS, WINDOW_S = 400, 5, 0.5


def limits_of(key: str) -> dict[str, Any]:
    """Eight starts a window for all queues together, and five for each of them."""
    return {
        "token_limiter": TokenLimiter(MAX_TOKENS, WINDOW_S),
        "limiter": RateLimit(MAX_STARTS, WINDOW_S),
        "estimated_tokens": TOKENS,
        "limit_key": key,
    }


async def call(job: Job[Any, None]) -> None:
    """Use tokens, or hear from the provider to come again later."""
    if job.name == "use":
        await job.report_tokens(TOKENS)
    else:
        await limits.observe(job.data["key"], retry_after=job.data["retry_after"])


def call_plainly(job: SyncJob[Any, None]) -> None:
    if job.name == "use":
        job.report_tokens(TOKENS)
    else:
        limits.observe(job.data["key"], retry_after=job.data["retry_after"])


app = App()
for name in filter(None, named_by(QUEUES_VARIABLE)):
    app.processor(name, concurrency=5, **limits_of(os.environ[KEY_VARIABLE]))(call)
for name in filter(None, named_by(PLAIN_QUEUES_VARIABLE)):
    app.processor(name, **limits_of(os.environ[KEY_VARIABLE]))(call_plainly)
