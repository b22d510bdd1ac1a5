"""Jobs of a batch report, stream, store vectors, spend a budget and tell of limits, each for itself."""

from __future__ import annotations

import pytest

from glidemq import Batch, Budget, FlowJob, FlowProducer, SharedClient, VectorField
from glidemq.commands.keys import limit_meta_key
from glidemq.commands.look_at_limit import LookAtLimitCommand, ShareWanted
from tests.promises.batch_app import provider_of
from tests.promises.places import Place, Processed
from tests.testkit.waiting import eventually

CALLS = [3, 1, 2]
NOTHING = ShareWanted(0, 0, 0)


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_batch_does_what_its_jobs_would_do_alone(
    processed: Processed, place: Place, kind: str
) -> None:
    pytest.importorskip("numpy", reason="the extra vectors (numpy) is not installed")
    app, name = "tests.promises.batch_app:app", f"{kind}-calls"
    async with (
        processed(app, name, batch=Batch(10, timeout=0.2)) as queue,
        await SharedClient.connect(place.url) as client,
        FlowProducer(client=client, prefix=queue.keys.prefix) as flows,
    ):
        calls: list[FlowJob] = [{"name": "call", "queue_name": name, "data": tokens} for tokens in CALLS]
        tree: FlowJob = {
            "name": "sum", "queue_name": name, "opts": {"estimated_tokens": 0}, "children": calls
        }  # fmt: skip
        await queue.drop_job_index()  # of a first try
        await queue.create_job_index(vector_field=VectorField("embedding", 2))
        node = await flows.add(tree, budget=Budget(max_total_tokens=1000))
        root = node.job
        await eventually(root.is_completed, "the end of the flow")
        await root.refresh()
        assert root.return_value == sum(CALLS)
        for child, tokens in zip(node.children, CALLS, strict=True):
            chunks = [entry.fields["t"] async for entry in queue.stream(child.job.id)]
            assert chunks == [str(number) for number in range(tokens)]
        usage, budget = await queue.get_flow_usage(root.id), await queue.get_flow_budget(root.id)
        assert (usage.total_tokens, usage.models) == (sum(CALLS), {"m": len(CALLS)})
        assert budget is not None
        assert (budget.used_tokens, budget.reserved_tokens) == (sum(CALLS), 0)
        ids = {child.job.id for child in node.children}
        found = await queue.vector_search([1, 1], filter="@state:{completed}")
        assert [match.job.data for match in found if match.job.id in ids] == sorted(CALLS)
        key = limit_meta_key(queue.keys.prefix, provider_of(name))
        seen = await client.execute(LookAtLimitCommand(key, requests=NOTHING, tokens=NOTHING))
        assert seen.hold_ms > 0
