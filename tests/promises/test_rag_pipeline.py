"""All primitives for model calls in one flow: fallbacks, usage, budget, streaming, approval, locks, a token limit."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from glidemq import Budget, FlowProducer, Job, Queue
from tests.promises.rag_app import EMBED_TOKENS, HALF, INPUT_TOKENS, OUTPUT_TOKENS, rag
from tests.testkit.runtime import Runtime
from tests.testkit.server import ValkeyServer
from tests.testkit.waiting import eventually

APP = "tests.promises.rag_app:app"
Launch = Callable[..., Runtime]
KINDS = ["sync", "async"]
# The first model fails half-way and is paid for that.
GENERATED = 2 * INPUT_TOKENS + HALF + OUTPUT_TOKENS


@pytest.fixture(params=KINDS)
async def queue(request: pytest.FixtureRequest, own_server: ValkeyServer) -> AsyncIterator[Queue[Any, Any]]:
    async with Queue[Any, Any](f"{request.param}-ai", connection=own_server.url) as queue:
        yield queue


async def has_ended(job: Job[Any, Any]) -> str | None:
    state = await job.get_state()
    return state if state in ("completed", "failed") else None


async def test_pipeline_answers_within_its_budget_after_an_outage_a_crash_and_a_review(
    launch: Launch, own_server: ValkeyServer, queue: Queue[Any, Any]
) -> None:
    async with FlowProducer(connection=own_server.url) as flows:
        node = await flows.add(
            rag(*[queue.name] * 3, die=True), budget=Budget(max_total_tokens=5000, max_total_cost=1)
        )
        embed, generate = (child.job for child in node.children)
        runtime = await launch(APP, "--procs", "1").ready()

        entries = [entry async for entry in queue.stream(generate.id)]
        last = entries[-1].attempt
        final = [entry.fields["t"] for entry in entries if entry.attempt == last and "t" in entry.fields]
        assert final == [str(number) for number in range(OUTPUT_TOKENS)]
        assert {entry.attempt for entry in entries} >= {1, 2}

        await eventually(lambda: queue.get_suspend_info(node.job.id), what="the review")
        info = await queue.get_suspend_info(node.job.id)
        assert info is not None
        assert info.reason == "review"
        await queue.signal(node.job.id, "approve", {"by": "somebody"})
        assert await eventually(lambda: has_ended(node.job), what="the answer") == "completed"

        for job in (node.job, embed, generate):
            await job.refresh()
        assert node.job.return_value == {
            "vector": [1, 2, 3],
            "text": "written by claude",
            "approvals": ["approve"],
        }
        assert (await queue.get_job_logs(node.job.id)).logs == ["goes on"]
        assert embed.attempts_made == 0
        assert generate.current_fallback is not None
        assert generate.current_fallback.provider == "anthropic"
        assert generate.usage is not None
        # A crash beside it may have made an attempt of `generate` run twice; nothing of it is counted twice.
        generated = generate.usage.total_tokens or 0
        assert generated >= GENERATED
        assert embed.usage is not None
        assert embed.usage.total_tokens == 2 * EMBED_TOKENS

        flow = await queue.get_flow_usage(node.job.id)
        budget = await queue.get_flow_budget(node.job.id)
        assert budget is not None
        assert budget.used_tokens == flow.total_tokens == generated + 2 * EMBED_TOKENS
        assert budget.used_cost == pytest.approx(flow.total_cost)
        assert (budget.reserved_tokens, budget.reserved_cost, budget.exceeded) == (0, 0, False)
        assert runtime.stop() == 0


async def test_retry_that_the_budget_has_no_room_for_ends_the_pipeline(
    launch: Launch, own_server: ValkeyServer, queue: Queue[Any, Any]
) -> None:
    """Enough for one attempt of everything, not for a second one after the outage."""
    async with FlowProducer(connection=own_server.url) as flows:
        enough = EMBED_TOKENS + INPUT_TOKENS + OUTPUT_TOKENS
        node = await flows.add(rag(*[queue.name] * 3), budget=Budget(max_total_tokens=enough))
        embed, generate = (child.job for child in node.children)
        runtime = await launch(APP, "--procs", "1").ready()
        assert await eventually(lambda: has_ended(node.job), what="the pipeline's end") == "failed"
        await generate.refresh()
        assert (generate.failed_reason, generate.attempts_made) == ("Budget exceeded", 1)
        assert await eventually(lambda: has_ended(embed), what="the other child's end") == "completed"
        budget = await queue.get_flow_budget(node.job.id)
        assert budget is not None
        assert budget.used_tokens == EMBED_TOKENS + INPUT_TOKENS + HALF
        assert (budget.reserved_tokens, budget.exceeded) == (0, False)
        assert runtime.stop() == 0
