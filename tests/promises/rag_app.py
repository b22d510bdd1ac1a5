"""Retrieval-augmented generation, as the AI features are meant to be used together; in actor processes of both kinds.

`data["step"]` says what a job does. The first model of `generate` fails half-way, after tokens have been streamed and
paid for; each token takes `data["pause"]` seconds. `embed` takes its process with it if `data` says so. The root
returns the same answer whether it goes on where it has waited or runs from the top, and logs the former.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from glidemq import App, Backoff, Fallback, FlowJob, Job, Signal, SyncJob, TokenLimiter
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


def answer_of(children: dict[str, Any], signals: Sequence[Signal]) -> dict[str, Any]:
    """What the root returns: the vector, the text, and who has approved of it."""
    merged: dict[str, Any] = {"approvals": [signal.name for signal in signals]}
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
            time.sleep(job.data["pause"])
        job.stream({"done": "1"})
        job.report_usage(**usage_of(model, OUTPUT_TOKENS))
        return {"text": f"written by {model}"}

    def go_on(signals: Sequence[Signal]) -> dict[str, Any]:
        job.log("goes on")
        return answer_of(job.get_children_values(), signals)

    if not job.signals:
        job.suspend(reason="review", timeout=60, on_resume=go_on)
    return answer_of(job.get_children_values(), job.signals)


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
            await asyncio.sleep(job.data["pause"])
        await job.stream({"done": "1"})
        await job.report_usage(**usage_of(model, OUTPUT_TOKENS))
        return {"text": f"written by {model}"}

    async def go_on(signals: Sequence[Signal]) -> dict[str, Any]:
        await job.log("goes on")
        return answer_of(await job.get_children_values(), signals)

    if not job.signals:
        await job.suspend(reason="review", timeout=60, on_resume=go_on)
    return answer_of(await job.get_children_values(), job.signals)


def rag(root: str, embed: str, generate: str, *, die: bool = False, pause_s: float = 0) -> FlowJob:
    """The flow, with its jobs in these queues."""
    return {
        "name": "rag",
        "queue_name": root,
        "data": {"query": "How does it work?"},
        "opts": {"estimated_tokens": 0},
        "children": [
            {
                "name": "embed",
                "queue_name": embed,
                "data": {"step": "embed", "die": die},
                "opts": {"lock_duration": 5, "estimated_tokens": EMBED_TOKENS},
            },
            {
                "name": "generate",
                "queue_name": generate,
                "data": {"step": "generate", "pause": pause_s},
                "opts": {
                    "lock_duration": 60,
                    "estimated_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
                    "fallbacks": [
                        Fallback("never", "nobody", on=("ConnectionError",)),
                        Fallback("claude", "anthropic", on=("OverloadedError",)),
                    ],
                    "attempts": 3,
                    "backoff": Backoff.exponential(0.05),
                },
            },
        ],
    }
