"""Retrieval-augmented generation, as the AI features are meant to be used together; in actor processes of both kinds.

`data["step"]` says what a job does. The first model of `generate` fails half-way, after tokens have been streamed and
paid for; `embed` takes its process with it if `data` says so.
"""

from __future__ import annotations

from typing import Any

from glidemq import App, Job, SyncJob, TokenLimiter
from tests.promises.model_calls_app import crashed, kill_own_process

EMBED_TOKENS = 20
INPUT_TOKENS, OUTPUT_TOKENS = 100, 40
HALF = OUTPUT_TOKENS // 2

app = App()
LIMITER = TokenLimiter(max_tokens=100_000, duration=60)


class OverloadedError(Exception):
    """What a provider says half-way."""


def model_of(job: Any) -> str:
    fallback = job.current_fallback
    return "gpt-large" if fallback is None else str(fallback.model)


def answer_of(children: dict[str, Any], approvals: list[str]) -> dict[str, Any]:
    """What the root returns: the vector, the text, and who has approved of it."""
    merged: dict[str, Any] = {"approvals": approvals}
    for value in children.values():
        merged |= value
    return merged


def usage_of(model: str, output: int) -> dict[str, Any]:
    return {
        "model": model,
        "tokens": {"input": INPUT_TOKENS, "output": output},
        "costs": {"total": output / 1000},
        "cost_unit": "usd",
    }


@app.processor("sync-ai", token_limiter=LIMITER)
def work(job: SyncJob[dict[str, Any], dict[str, Any]]) -> dict[str, Any]:
    step = job.data.get("step")
    if step == "embed":
        job.report_usage(model="embedder", tokens={"input": EMBED_TOKENS})
        if job.data.get("die") and not crashed(job):
            kill_own_process()
        return {"vector": [1, 2, 3]}
    if step == "generate":
        model = model_of(job)
        for number in range(OUTPUT_TOKENS):
            if model == "gpt-large" and number == HALF:
                job.report_usage(**usage_of(model, HALF))
                raise OverloadedError(model)
            job.stream({"t": f"{number}"})
        job.stream({"done": "1"})
        job.report_usage(**usage_of(model, OUTPUT_TOKENS))
        return {"text": f"written by {model}"}
    if not job.signals:
        job.suspend(reason="review", timeout=60)
    return answer_of(job.get_children_values(), [signal.name for signal in job.signals])


@app.processor("async-ai", concurrency=20, token_limiter=LIMITER)
async def work_async(job: Job[dict[str, Any], dict[str, Any]]) -> dict[str, Any]:
    step = job.data.get("step")
    if step == "embed":
        await job.report_usage(model="embedder", tokens={"input": EMBED_TOKENS})
        if job.data.get("die") and not crashed(job):
            kill_own_process()
        return {"vector": [1, 2, 3]}
    if step == "generate":
        model = model_of(job)
        for number in range(OUTPUT_TOKENS):
            if model == "gpt-large" and number == HALF:
                await job.report_usage(**usage_of(model, HALF))
                raise OverloadedError(model)
            await job.stream({"t": f"{number}"})
        await job.stream({"done": "1"})
        await job.report_usage(**usage_of(model, OUTPUT_TOKENS))
        return {"text": f"written by {model}"}
    if not job.signals:
        await job.suspend(reason="review", timeout=60)
    return answer_of(await job.get_children_values(), [signal.name for signal in job.signals])
