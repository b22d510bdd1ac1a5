"""FlowProducer.add and add_bulk: what is checked before a call, what is written, and what a failure leaves."""

from __future__ import annotations

from typing import Any

import pytest
import valkey

from glidemq import ClosedError, FlowJob, FlowProducer, JobNode, Queue, SharedClient, ValidationError
from glidemq.client import flow_writer
from glidemq.commands.add_flow import AddFlowCommand
from glidemq.commands.command import Command
from glidemq.errors import ConnectionError
from tests.testkit.server import ValkeyServer


@pytest.fixture
def keys(raw: valkey.Valkey, queue_name: str) -> list[str]:
    """Two queue names."""
    return [queue_name, f"{queue_name}-b"]


def stored(raw: Any, queue: str, job_id: str) -> dict[str, str]:
    fields = raw.hgetall(f"glide:{{{queue}}}:job:{job_id}")
    return {name.decode(): value.decode() for name, value in fields.items()}


def names_of(raw: Any, queue: str, key: str) -> set[str]:
    return {member.decode() for member in raw.smembers(f"glide:{{{queue}}}:{key}")}


def tree(one: str, other: str) -> FlowJob:
    """Wire-format's example: P(c1, c2 in another queue, mid(leaf))."""
    return {
        "name": "P",
        "queue_name": one,
        "data": {"p": 1},
        "children": [
            {"name": "c1", "queue_name": one},
            {"name": "c2", "queue_name": other},
            {"name": "mid", "queue_name": one, "children": [{"name": "leaf", "queue_name": one}]},
        ],
    }


def existing(raw: Any, *queues: str) -> list[bytes]:
    """All keys of these queues but the id counters, which reservations move, and what expires."""
    found = [key for queue in queues for key in raw.scan_iter(match=f"glide:{{{queue}}}:*")]
    return sorted(key for key in found if not key.endswith(b":id") and raw.ttl(key) < 0)


async def test_a_tree_over_two_queues_is_numbered_and_stored_as_node_does_it(
    server: ValkeyServer, raw: valkey.Valkey, keys: list[str]
) -> None:
    one, other = keys
    async with FlowProducer(connection=server.url) as flows:
        root = await flows.add(tree(one, other))
    assert isinstance(root, JobNode)
    assert (root.job.id, root.job.name, root.job.data, root.job.queue_name) == ("3", "P", {"p": 1}, one)
    assert [(node.job.name, node.job.id) for node in root.children] == [
        ("c1", "4"),
        ("c2", "1"),
        ("mid", "1"),
    ]
    [leaf] = root.children[2].children
    assert (leaf.job.id, leaf.children) == ("2", [])
    assert names_of(raw, one, "deps:3") == {
        f"glide:{{{one}}}:4",
        f"glide:{{{other}}}:1",
        f"glide:{{{one}}}:1",
    }
    assert names_of(raw, one, "deps:1") == {f"glide:{{{one}}}:2"}
    assert stored(raw, one, "3")["state"] == stored(raw, one, "1")["state"] == "waiting-children"
    child = stored(raw, other, "1")
    assert (child["parentId"], child["parentQueue"], child["state"]) == ("3", one, "waiting")
    assert (stored(raw, one, "1")["parentId"], stored(raw, one, "2")["parentId"]) == ("3", "1")


async def test_a_single_job_is_a_tree_as_well(server: ValkeyServer, queue_name: str) -> None:
    async with (
        FlowProducer(connection=server.url) as flows,
        Queue[Any, Any](queue_name, connection=server.url) as queue,
    ):
        root = await flows.add({"name": "alone", "queue_name": queue_name, "opts": {"delay": 60}})
        assert await root.job.get_state() == "delayed"
        assert (await queue.get_job_counts())["delayed"] == 1


async def test_options_and_prefix_apply(server: ValkeyServer, raw: valkey.Valkey, queue_name: str) -> None:
    async with FlowProducer(connection=server.url, prefix="other") as flows:
        await flows.add(
            {
                "name": "p",
                "queue_name": queue_name,
                "opts": {"job_id": "root", "attempts": 3},
                "children": [
                    {"name": "c", "queue_name": queue_name, "opts": {"on_failure": "ignore", "ttl": 5}}
                ],
            }
        )
    key = f"other:{{{queue_name}}}:job:"
    assert raw.hget(key + "root", "opts") == b'{"jobId":"root","attempts":3}'
    assert raw.hget(key + "root", "maxAttempts") == b"3"
    assert raw.hget(key + "1", "opts") == b'{"x-py:onFailure":"ignore","ttl":5000}'
    assert raw.hexists(key + "1", "expireAt")


async def test_many_trees_are_added_in_two_calls(
    server: ValkeyServer, raw: valkey.Valkey, queue_name: str
) -> None:
    flows: list[FlowJob] = [
        {
            "name": "p",
            "queue_name": queue_name,
            "children": [{"name": "c", "queue_name": queue_name, "data": number}],
        }
        for number in range(50)
    ]
    async with await SharedClient.connect(server.url) as client:
        before = client.requests_sent
        async with FlowProducer(client=client) as producer:
            nodes = await producer.add_bulk(flows)
            assert await producer.add_bulk([]) == []
        assert client.requests_sent - before == 2
    assert [node.children[0].job.data for node in nodes] == list(range(50))
    assert raw.xlen(f"glide:{{{queue_name}}}:stream") == 50


async def test_trees_beyond_one_call_are_written_parents_first(
    server: ValkeyServer, raw: valkey.Valkey, queue_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow_writer, "MAX_ROWS_PER_CALL", 3)
    children: list[FlowJob] = [{"name": "c", "queue_name": queue_name} for _ in range(10)]
    async with FlowProducer(connection=server.url) as flows:
        root = await flows.add({"name": "p", "queue_name": queue_name, "children": children})
    assert len(names_of(raw, queue_name, f"deps:{root.job.id}")) == 10
    events: Any = raw.xrange(f"glide:{{{queue_name}}}:events")
    added = [fields[b"name"] for _, fields in events]
    assert added[0] == b"p" and len(added) == 11


# -- duplicates and half-written flows -----------------------------------------------------------------------


async def test_a_taken_id_anywhere_keeps_the_whole_flow_out(
    server: ValkeyServer, raw: valkey.Valkey, keys: list[str]
) -> None:
    one, other = keys
    flow = tree(one, other)
    flow["children"][1]["opts"] = {"job_id": "mine"}  # type: ignore[typeddict-item,index]
    async with (
        FlowProducer(connection=server.url) as flows,
        Queue[Any, Any](other, connection=server.url) as queue,
    ):
        await queue.add("n", 1, job_id="mine")
        before = existing(raw, one, other)
        with pytest.raises(ValidationError, match=r"^Duplicate job ID in flow"):
            await flows.add(flow)
        assert existing(raw, one, other) == before


async def test_an_id_given_twice_is_found_without_a_call(queue_name: str) -> None:
    twice: FlowJob = {"name": "c", "queue_name": queue_name, "opts": {"job_id": "x"}}
    async with FlowProducer(connection="valkey://127.0.0.1:1") as flows:
        with pytest.raises(ValidationError, match="Duplicate job ID in flow"):
            await flows.add({"name": "p", "queue_name": queue_name, "children": [twice, twice]})


class Failing:
    """A connection on which the n-th add of a flow does not arrive."""

    def __init__(self, client: SharedClient, fail_at: int) -> None:
        self._client = client
        self._left = fail_at

    async def execute(self, command: Command[Any]) -> Any:
        if isinstance(command, AddFlowCommand):
            self._left -= 1
            if self._left == 0:
                raise ConnectionError("gone")
        return await self._client.execute(command)


@pytest.mark.parametrize("fail_at", [1, 2, 3, 4])
async def test_what_was_written_before_a_failure_is_removed_again(
    server: ValkeyServer, raw: valkey.Valkey, keys: list[str], fail_at: int
) -> None:
    one, other = keys
    flow = tree(one, other)
    flow["children"][1]["children"] = [{"name": "deep", "queue_name": other}]  # type: ignore[typeddict-item,index]
    async with await SharedClient.connect(server.url) as client:
        flows = FlowProducer(client=Failing(client, fail_at))  # type: ignore[arg-type]
        with pytest.raises(ConnectionError, match="gone") as caught:
            await flows.add(flow)
        await flows.close()
    # The two calls of a phase are made at once: the other one has added something, whichever failed.
    assert any("were removed again" in note for note in caught.value.__notes__)
    ours = (b":events", b":stream", b":x-py:")
    assert [key for key in existing(raw, one, other) if not any(own in key for own in ours)] == []
    assert raw.xlen(f"glide:{{{one}}}:stream") == raw.xlen(f"glide:{{{other}}}:stream") == 0


# -- what is refused -----------------------------------------------------------------------------------------

REFUSED: dict[str, Any] = {
    "Queue name must be a non-empty string": {"name": "n"},
    "Unknown member of a flow job 'queueName': did you mean 'queue_name'?": {"name": "n", "queueName": "q"},
    "a flow job must be a mapping, not str": "job",
    "children of flow job 'n' must be a list of jobs": {
        "name": "n",
        "queue_name": "q",
        "children": {"name": "c"},
    },
    'Flow child "c": lifo and ordering.key cannot be used together': {
        "name": "n",
        "queue_name": "q",
        "children": [{"name": "c", "queue_name": "q", "opts": {"lifo": True, "ordering": {"key": "k"}}}],
    },
    'on_failure must be "fail_parent", "ignore", "remove" or "continue", not \'explode\'': {
        "name": "n",
        "queue_name": "q",
        "opts": {"on_failure": "explode"},
    },
    "deduplication is not for the jobs of a flow: give the whole flow custom ids instead": {
        "name": "n",
        "queue_name": "q",
        "opts": {"deduplication": {"id": "d"}},
    },
}


@pytest.mark.parametrize("text", REFUSED)
async def test_a_malformed_flow_is_refused_before_any_call(text: str) -> None:
    async with FlowProducer(connection="valkey://127.0.0.1:1") as flows:
        with pytest.raises(ValidationError) as caught:
            await flows.add(REFUSED[text])
        assert str(caught.value) == text


async def test_a_closed_producer_refuses_and_leaves_a_borrowed_client_open(
    server: ValkeyServer, queue_name: str
) -> None:
    async with await SharedClient.connect(server.url) as client:
        flows = FlowProducer(client=client)
        await flows.close()
        await flows.close()
        with pytest.raises(ClosedError, match=r"^FlowProducer is closing$"):
            await flows.add({"name": "n", "queue_name": queue_name})
        await client.ping()


def test_connection_and_client_exclude_each_other() -> None:
    client: Any = object()
    with pytest.raises(ValidationError, match=r"^Provide either `connection` or `client`, not both\.$"):
        FlowProducer(connection="valkey://h", client=client)
