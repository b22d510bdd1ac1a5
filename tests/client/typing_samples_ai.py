"""What users of the AI primitives write, for mypy --strict and pyright strict; never run."""
# ruff: noqa: RET503 - it does not follow `NoReturn`, checkers of types do

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypedDict, assert_type

from glidemq import (
    App,
    Backoff,
    Budget,
    BudgetExceededEvent,
    Fallback,
    FlowBudget,
    FlowProducer,
    Job,
    JobOptions,
    JobUsage,
    Producer,
    Queue,
    QueueEvents,
    RateLimit,
    ResumedEvent,
    StreamEntry,
    SuspendInfo,
    SyncJob,
    TokenLimiter,
    UsageEvent,
    UsageSummary,
    UsageTotals,
    VectorField,
    Worker,
    get_usage_summary,
    limits,
)


class Prompt(TypedDict):
    prompt: str


@dataclass
class Answer:
    content: str


app = App()


@app.processor(
    "inference",
    concurrency=10,
    limiter=RateLimit(max=60, duration=60),
    token_limiter=TokenLimiter(max_tokens=100_000, duration=60),
    estimated_tokens=1200,
    estimated_cost={"input": 0.01, "output": 0.02},
)
async def infer(job: Job[Prompt, Answer]) -> Answer:
    assert_type(job.current_fallback, Fallback | None)
    model = job.current_fallback.model if job.current_fallback else "big-1"
    assert_type(await job.stream({"t": "token"}), str)
    await job.stream_chunk("reasoning", "hm")
    await job.stream_chunk("done")
    await job.report_usage(
        model=model,
        tokens={"input": 10},
        costs={"total": 0.0035},
        cost_unit="usd",
        latency=timedelta(seconds=1),
    )
    await job.report_tokens(10)
    return Answer(job.data["prompt"])


@app.processor("moderation")
async def moderate(job: Job[Prompt, dict[str, str]]) -> dict[str, str]:
    if job.signals:
        return {"by": job.signals[0].data["reviewer"]}
    await job.suspend(reason="awaiting-human-review", timeout=3600)


@app.processor("moderation-sync")
def moderate_sync(job: SyncJob[Prompt, dict[str, str]]) -> dict[str, str]:
    if job.signals:
        return {"by": job.signals[0].data["reviewer"]}
    job.suspend(reason="awaiting-human-review", timeout=timedelta(hours=1))


async def producing(queue: Queue[Prompt, Answer], producer: Producer[Prompt], options: JobOptions) -> None:
    """An add gives a job, unless an option makes it depend on earlier ones."""
    prompt: Prompt = {"prompt": "Why?"}
    fallbacks = [Fallback("small-1", provider="acme"), Fallback("tiny-1", metadata={"region": "eu"})]
    job = await queue.add("ask", prompt, attempts=3, backoff=Backoff.exponential(2), fallbacks=fallbacks)
    assert_type(job, Job[Prompt, Answer])
    assert_type(job.usage, JobUsage | None)
    assert_type(await queue.add("ask", prompt, job_id="x"), Job[Prompt, Answer] | None)
    assert_type(await queue.add("ask", prompt, deduplication={"id": "x"}), Job[Prompt, Answer] | None)
    assert_type(await queue.add("ask", prompt, **options), Job[Prompt, Answer] | None)
    assert_type(await producer.add("ask", prompt, lock_duration=5), str)
    assert_type(await producer.add("ask", prompt, job_id="x"), str | None)
    jobs = await queue.add_bulk([("ask", {"prompt": "Who?"}), ("ask", {"prompt": "Where?"})])
    assert_type(jobs, list[Job[Prompt, Answer]])


async def following(queue: Queue[Prompt, Answer], job: Job[Prompt, Answer]) -> None:
    async for entry in queue.stream(job.id):
        assert_type(entry.fields["t"], str)
    entries = await queue.read_stream(job.id, last_id=None, block=5, count=50)
    assert_type(entries, list[StreamEntry])
    assert_type(await queue.signal(job.id, "review", {"action": "approve"}), bool)
    assert_type(await queue.get_suspend_info(job.id), SuspendInfo | None)
    assert_type(await queue.get_flow_usage(job.id), UsageTotals)
    assert_type(await get_usage_summary(connection="valkey://localhost"), UsageSummary)
    assert_type(await queue.get_flow_budget(job.id), FlowBudget | None)
    await queue.create_job_index(vector_field=VectorField("embedding", 3, distance_metric="COSINE"))
    await job.store_vector("embedding", [0.0, 0.1, 0.2])
    for match, score in await queue.vector_search([0.0, 0.1, 0.2], k=10, filter="@state:{completed}"):
        assert_type(match, Job[Prompt, Answer])
        assert_type(score, float)
    await limits.observe(("acme", "small-1"), retry_after="20")


async def flowing(flows: FlowProducer) -> None:
    node = await flows.add(
        {
            "name": "rag",
            "queue_name": "ai",
            "data": {"query": "Why?"},
            "children": [{"name": "embed", "queue_name": "ai", "opts": {"lock_duration": 5, "attempts": 3}}],
            "opts": {"estimated_tokens": {"input": 900, "output": 200}, "estimated_cost": 0.02},
        },
        budget=Budget(max_total_tokens=5000, on_exceeded="fail"),
    )
    assert_type(node.job, Job[Any, Any])
    assert_type(node.children[0].job.id, str)


def listening(events: QueueEvents, worker: Worker[Prompt, Answer]) -> None:
    def on_budget(event: BudgetExceededEvent) -> None:
        assert_type(event.flow_id, str)

    def on_usage(event: UsageEvent) -> None:
        assert_type(event.usage, JobUsage)

    async def on_resumed(event: ResumedEvent) -> None:
        assert_type(event.signal, str | None)

    events.on("budget-exceeded", on_budget)
    events.on("usage", on_usage)
    events.on("resumed", on_resumed)

    def completed(job: Job[Prompt, Answer], result: Answer) -> None: ...

    @worker.on("failed")
    def failed(job: Job[Prompt, Answer], error: Exception) -> str:
        return job.id

    assert_type(failed(Job[Prompt, Answer](), ValueError()), str)
    worker.on("completed", completed)
    worker.on("failed", lambda job, error: print(job.id, error))
    worker.on("budget-exceeded", lambda job_id, flow_id: print(job_id, flow_id))
    worker.on("closed", lambda: print("closed"))
    worker.on("closed", completed)  # type: ignore[call-overload] # pyright: ignore[reportArgumentType, reportCallIssue]
