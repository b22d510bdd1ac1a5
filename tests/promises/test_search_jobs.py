"""Jobs are found by state, name and data, whatever serializer and compression, and nobody waits for a long search."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from glidemq import Queue, ValidationError, Worker
from glidemq.examples.msgpack_serializer import MSGPACK_SERIALIZER
from tests.testkit.server import ValkeyServer

AnyQueue = Queue[Any, Any]


async def test_jobs_are_found_by_all_conditions_together(server: ValkeyServer, queue_name: str) -> None:
    async with AnyQueue(queue_name, connection=server.url) as queue:
        await queue.add_bulk(
            [
                ("mail", {"to": "ann", "n": 1}),
                ("mail", {"to": "bob", "n": 1}, {"delay": 60}),
                ("mail", {"to": "ann", "n": 2}),
                ("call", {"to": "ann", "n": 1}),
                ("mail", ["to", "ann"]),
            ]
        )

        async def found(**wanted: Any) -> list[str]:
            return sorted(job.id for job in await queue.search_jobs(**wanted))

        assert await found(data={"to": "ann"}) == ["1", "3", "4"]
        assert await found(data={"to": "ann", "n": 1.0}, name="mail") == ["1"]
        assert await found(data={"n": True}) == []
        assert await found(data={"nobody": None}) == []
        assert await found(state="delayed", name="mail") == ["2"]
        assert await found(state="waiting", name="mail", data={}) == ["1", "3", "5"]
        assert await found() == ["1", "2", "3", "4", "5"]
        assert len(await queue.search_jobs(name="mail", limit=2)) == 2

        (bare,) = await queue.search_jobs(data={"to": "bob"}, exclude_data=True)
        assert (bare.id, bare.data, bare.delay) == ("2", {}, 60.0)
        (whole,) = await queue.search_jobs(data={"to": "bob"})
        assert whole.data == {"to": "bob", "n": 1}


async def test_finished_jobs_are_found_with_their_results(server: ValkeyServer, queue_name: str) -> None:
    async def answer(job: Any) -> Any:
        if job.data["fails"]:
            raise ValueError("no")
        return job.data["n"]

    async with (
        AnyQueue(queue_name, connection=server.url) as queue,
        Worker[Any, Any](queue_name, answer, connection=server.url),
    ):
        jobs = await queue.add_bulk([("n", {"n": n, "fails": n % 2 == 1}) for n in range(6)])
        for job in jobs:
            await job.wait_until_finished(poll=0.01)
        completed = await queue.search_jobs(state="completed", data={"fails": False})
        assert [job.return_value for job in completed] == [0, 2, 4]
        failed = await queue.search_jobs(state="failed", data={"fails": True}, limit=2)
        assert [(job.id, job.failed_reason) for job in failed] == [("2", "no"), ("4", "no")]


async def test_data_is_compared_after_inflating_and_deserializing(
    server: ValkeyServer, queue_name: str
) -> None:

    async with (
        AnyQueue(
            queue_name, connection=server.url, serializer=MSGPACK_SERIALIZER, compression="gzip"
        ) as packed,
        AnyQueue(queue_name, connection=server.url) as plain,
    ):
        await packed.add("n", {"text": "x" * 5000, "kind": "a"})
        assert len(await packed.search_jobs(data={"kind": "a"})) == 1
        # Data of another serializer has no members; it does not stop the search.
        assert await plain.search_jobs(data={"kind": "a"}) == []
        assert len(await plain.search_jobs()) == 1


async def test_a_search_among_200_000_jobs_holds_nobody_up(server: ValkeyServer, queue_name: str) -> None:
    async with AnyQueue(queue_name, connection=server.url) as queue:
        _fill(server.client(), queue.keys.base, 200_000)
        for wanted in ({"state": "completed", "name": "needle"}, {"name": "needle"}):
            searching = asyncio.create_task(queue.search_jobs(**wanted, data={"n": 150_000}))  # type: ignore[arg-type]
            longest = await _longest_ping(server, searching)
            assert [job.id for job in await searching] == ["150000"]
            print(f"[measured] {wanted}: the longest wait of another client was {1000 * longest:.1f} ms")
            assert longest < 0.25  # a single call that looks at all of them takes far longer
        await queue.obliterate(force=True)


def _fill(client: Any, base: str, count: int) -> None:
    for first in range(0, count, 10_000):
        pipeline = client.pipeline(transaction=False)
        scores: dict[str, float] = {}
        for number in range(first, first + 10_000):
            fields = {
                "id": number,
                "name": "needle" if number % 50_000 == 0 else "n",
                "state": "completed",
                "data": f'{{"n":{number}}}',
            }
            pipeline.hset(f"{base}:job:{number}", mapping=fields)
            scores[str(number)] = number
        pipeline.zadd(f"{base}:completed", scores)
        pipeline.execute()
    client.close()


async def _longest_ping(server: ValkeyServer, until: asyncio.Task[Any]) -> float:
    """The longest that another client had to wait for the server meanwhile, in seconds."""
    client: Any = server.client()
    longest = 0.0
    while not until.done():
        began = time.monotonic()
        client.ping()
        longest = max(longest, time.monotonic() - began)
        await asyncio.sleep(0)
    client.close()
    return longest


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"state": "asleep"}, "jobs can be searched by state"),
        ({"limit": 0}, "limit must be a positive integer"),
        ({"limit": True}, "limit must be a positive integer"),
        ({"data": [1]}, "data must be a mapping"),
    ],
)
async def test_conditions_that_cannot_be_checked_are_refused_at_once(
    wanted: dict[str, Any], message: str
) -> None:
    async with AnyQueue("q", connection="valkey://127.0.0.1:1") as queue:
        with pytest.raises(ValidationError, match=message):
            await queue.search_jobs(**wanted)
