"""An app whose queues are limited by the tokens that their jobs use, and by what providers say."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from glidemq import App, Job, SyncJob, TokenLimiter, limits

MAX_TOKENS = 2000
WINDOW_S = 1
LIMITER = TokenLimiter(MAX_TOKENS, WINDOW_S)
PROVIDER = ("provider", "model")

app = App()


async def use(job: Job[dict[str, Any], int]) -> int:
    tokens: int = job.data["tokens"]
    await job.report_tokens(tokens)
    return tokens


# A queue for each test: what is left of another one's window is in nobody's way.
for queue in ("both", "killed", "dear", "learned"):
    app.processor(queue, concurrency=4, token_limiter=LIMITER)(use)
app.processor("counted", concurrency=4, token_limiter=TokenLimiter(MAX_TOKENS, WINDOW_S, scope="queue"))(use)
app.processor("first", concurrency=4, token_limiter=LIMITER, limit_key=PROVIDER)(use)
app.processor("second", concurrency=4, token_limiter=LIMITER, limit_key=PROVIDER)(use)


@app.processor("blocking", token_limiter=LIMITER)
def use_blocking(job: SyncJob[dict[str, Any], int]) -> int:
    tokens: int = job.data["tokens"]
    job.report_tokens(tokens)
    return tokens


def asking(key: str) -> Callable[[Job[dict[str, Any], None]], Awaitable[None]]:
    async def ask(job: Job[dict[str, Any], None]) -> None:
        await limits.observe(key, **job.data)

    return ask


for queue, key in {"asking": "asked", "asking-how-many": "asked-how-many"}.items():
    app.processor(queue, concurrency=4, limit_key=key)(asking(key))


@app.processor("asking-blocking", limit_key="asked-blocking")
def ask_blocking(job: SyncJob[dict[str, Any], None]) -> None:
    limits.observe("asked-blocking", **job.data)
