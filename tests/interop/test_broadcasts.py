"""Broadcasts as glide-mq for Node has recorded them: read by a subscription of ours, and written by ours alike."""

from __future__ import annotations

from typing import Any

from glidemq import Broadcast, BroadcastWorker, Job
from tests.interop.loader import load_dump
from tests.testkit.server import ValkeyServer
from tests.testkit.waiting import eventually

TIMES = ("timestamp", "processedOn", "lastActive", "finishedOn")


async def one(job: Job[Any, Any]) -> int:
    return 1


def without_times(fields: Any) -> dict[str, str]:
    texts = {
        name.decode() if isinstance(name, bytes) else name: value.decode()
        if isinstance(value, bytes)
        else value
        for name, value in dict(fields).items()
    }
    return {name: value for name, value in texts.items() if name not in TIMES}


async def test_node_s_messages_are_replayed_and_its_subscriptions_go_on(
    server: ValkeyServer, queue_name: str, raw: Any
) -> None:
    loaded = load_dump(raw, "broadcast", queue_name, moment="after_delivery")
    replayed: list[Any] = []
    followed: list[Any] = []

    async def replay(job: Job[Any, Any]) -> None:
        replayed.append((job.name, job.data))

    async def follow(job: Job[Any, Any]) -> None:
        followed.append((job.name, job.data))

    url = server.url
    async with (
        BroadcastWorker[Any, Any](
            queue_name, replay, subscription="s2", start_from="0-0", connection=url, block=0.2
        ),
        BroadcastWorker[Any, Any](
            queue_name, follow, subscription="s1", start_from="0-0", connection=url, block=0.2
        ),
        Broadcast[Any](queue_name, connection=url) as broadcast,
    ):
        assert await broadcast.publish("topic.b", {"m": 2}) == "2"
        await eventually(lambda: len(replayed) == 2 and len(followed) == 1, "both have what is theirs")
    assert replayed == [("topic.a", {"m": 1}), ("topic.b", {"m": 2})]
    assert followed == [("topic.b", {"m": 2})]  # s1 has had the first from Node
    entries = raw.xrange(loaded.key("stream"))
    assert [fields for _, fields in entries] == [
        {b"jobId": b"1", b"name": b"topic.a"},
        {b"jobId": b"2", b"name": b"topic.b"},
    ]


async def test_ours_leave_what_node_s_leave(server: ValkeyServer, queue_name: str, raw: Any) -> None:
    recorded = load_dump(raw, "broadcast", f"{queue_name}-node", moment="after_delivery")
    async with (
        BroadcastWorker[Any, Any](queue_name, one, subscription="s1", connection=server.url, block=0.2),
        Broadcast[Any](queue_name, connection=server.url) as broadcast,
    ):
        await broadcast.publish("topic.a", {"m": 1})
        await eventually(lambda: raw.zcard(broadcast.keys.completed), "it is delivered")
        ours, node = broadcast.keys, recorded
        assert without_times(raw.hgetall(ours.job("1"))) == without_times(raw.hgetall(node.key("job:1")))
        for stream in ("stream", "events"):
            found = [fields for _, fields in raw.xrange(f"{ours.base}:{stream}")]
            assert found == [fields for _, fields in raw.xrange(node.key(stream))]
        (group,) = raw.xinfo_groups(ours.stream)
        assert (group["name"], group["pending"]) == (b"s1", 0)
        suffixes = {key.decode().partition("}:")[2] for key in raw.scan_iter(match=f"{ours.base}:*")}
        theirs = {key.decode().partition("}:")[2] for key in raw.scan_iter(match=node.key("*"))}
        own = {name for name in suffixes if name.startswith("x-py:")}
        assert {name.partition(":worker")[0].partition(":py")[0] for name in suffixes - own} == {
            name.partition(":worker")[0] for name in theirs
        }
