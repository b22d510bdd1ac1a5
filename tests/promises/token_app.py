"""An app whose queues are limited by the tokens that their jobs use, and by what providers say."""

from __future__ import annotations

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


app.processor("both", concurrency=4, token_limiter=LIMITER)(use)
app.processor("counted", concurrency=4, token_limiter=TokenLimiter(MAX_TOKENS, WINDOW_S, scope="queue"))(use)
app.processor("learned", concurrency=4, token_limiter=LIMITER)(use)
app.processor("first", concurrency=4, token_limiter=LIMITER, limit_key=PROVIDER)(use)
app.processor("second", concurrency=4, token_limiter=LIMITER, limit_key=PROVIDER)(use)


@app.processor("blocking", token_limiter=LIMITER)
def use_blocking(job: SyncJob[dict[str, Any], int]) -> int:
    tokens: int = job.data["tokens"]
    job.report_tokens(tokens)
    return tokens


@app.processor("asking", concurrency=4, limit_key="asked")
async def ask(job: Job[dict[str, Any], None]) -> None:
    await limits.observe("asked", **job.data)


@app.processor("asking-blocking", limit_key="asked-blocking")
def ask_blocking(job: SyncJob[dict[str, Any], None]) -> None:
    limits.observe("asked-blocking", **job.data)
