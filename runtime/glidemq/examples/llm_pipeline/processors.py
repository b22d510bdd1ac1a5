"""The app: an answer is retrieved for, drafted and criticised, and goes out once somebody has approved of it."""

from __future__ import annotations

import os
import time
from typing import Any, TypedDict

from glidemq import App, Job, RateLimit, RateLimitError, SyncJob, TokenLimiter, limits
from glidemq.examples.llm_pipeline.provider import Completion, RateLimited, SimulatedProvider
from glidemq.examples.llm_pipeline.retrieval import nearest

ANSWERS, PASSAGES, DRAFTS = "llm-answers", "llm-passages", "llm-drafts"
SEED_VARIABLE = "LLM_PIPELINE_SEED"
APPROVAL_S = 600

app = App()
# Retrieval is CPU work: it has a process of its own, which no wait for a model occupies.
app.pool("cpu", procs=1)
app.pool("models", procs=1)
provider = SimulatedProvider(int(os.environ.get(SEED_VARIABLE, "0")))


class Question(TypedDict):
    """What an answer starts from."""

    question: str


class Draft(TypedDict):
    """What a model is asked: to draft an answer, or to criticise the question."""

    question: str
    model: str
    max_tokens: int


class Answer(TypedDict):
    """What comes out."""

    text: str
    model: str
    passages: list[str]
    criticism: str | None
    approved: bool


@app.processor(PASSAGES, pool="cpu")
def retrieve(job: SyncJob[Question, dict[str, Any]]) -> dict[str, Any]:
    """Find passages; reports what an embedding would have cost."""
    job.report_usage(model="embedder", tokens={"input": len(job.data["question"].split())})
    return {"kind": job.name, "passages": nearest(job.data["question"])}


@app.processor(
    DRAFTS,
    pool="models",
    concurrency=20,
    limiter=RateLimit(max=600, duration=60),
    token_limiter=TokenLimiter(max_tokens=60_000, duration=60),
    limit_key=("simulated", "models"),
)
async def draft(job: Job[Draft, dict[str, str]]) -> dict[str, str]:
    """Stream what the model says. A refusal holds back the whole fleet; an outage is the next model's chance."""
    fallback = job.current_fallback
    model = fallback.model if fallback else job.data["model"]
    began_s = time.monotonic()
    try:
        completion = await provider.complete(
            model, f"{job.name}: {job.data['question']}", max_tokens=job.data["max_tokens"]
        )
    except RateLimited as refusal:
        await limits.observe(("simulated", "models"), retry_after=refusal.retry_after)
        raise RateLimitError(refusal.retry_after) from refusal
    words: list[str] = []
    try:
        async for word in completion:
            words.append(word)
            await job.stream({"t": word})
        await job.stream({"t": "", "done": "1"})
    finally:
        await report(job, completion, time.monotonic() - began_s)
    return {"kind": job.name, "text": " ".join(words), "model": model}


async def report(job: Job[Any, Any], completion: Completion, latency_s: float) -> None:
    """What the model has used, however far it came."""
    await job.report_usage(
        model=completion.model,
        provider="simulated",
        tokens={"input": completion.input_tokens, "output": completion.output_tokens},
        costs={"total": completion.cost},
        cost_unit="usd",
        latency=latency_s,
    )


@app.processor(ANSWERS, pool="models", concurrency=20)
async def answer(job: Job[Question, Answer]) -> Answer:
    """Runs once its children have ended, and again once somebody has judged what they made."""
    if not job.signals:
        await job.suspend(reason="waits for approval", timeout=APPROVAL_S)
    approved = any(signal.name == "approve" for signal in job.signals)
    made: dict[str, Any] = {value["kind"]: value for value in (await job.get_children_values()).values()}
    criticism = made.get("criticise")  # it may have failed, and stops nothing
    return Answer(
        text=made["draft"]["text"],
        model=made["draft"]["model"],
        passages=made["retrieve"]["passages"],
        criticism=criticism and criticism["text"],
        approved=approved,
    )
