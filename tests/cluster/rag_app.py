"""The pipeline of `tests.promises.rag_app`, in queues that the test names, which share one limit of tokens."""

from __future__ import annotations

import os
from typing import Any

from glidemq import App, TokenLimiter
from tests.cluster.app import PLAIN_QUEUES_VARIABLE, QUEUES_VARIABLE, named_by
from tests.promises.rag_app import work, work_async

KEY_VARIABLE = "CLUSTER_LIMIT_KEY"

limits: dict[str, Any] = {
    # What a killed gateway had set aside counts as used until the window ends.
    "token_limiter": TokenLimiter(max_tokens=100_000, duration=1),
    "limit_key": os.environ.get(KEY_VARIABLE, "provider"),
}

app = App()
for name in filter(None, named_by(QUEUES_VARIABLE)):
    app.processor(name, concurrency=20, **limits)(work_async)
for name in filter(None, named_by(PLAIN_QUEUES_VARIABLE)):
    app.processor(name, **limits)(work)
