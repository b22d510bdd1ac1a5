"""The shared client, as documented: who may borrow it, how many connections that leaves, who closes what, and when."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
import valkey

from glidemq import (
    ClosedError,
    ConnectionError,
    ConnectionOptions,
    FlowProducer,
    Job,
    Producer,
    Queue,
    QueueEvents,
    SharedClient,
    ValidationError,
    Worker,
)
from tests.testkit.server import ValkeyServer
from tests.testkit.waiting import eventually


async def double(job: Job[Any, Any]) -> int:
    return 2 * int(job.data)


class Connections:
    """The connections that were opened since this object was made, by the name of their client."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self._before = {client["id"] for client in raw.client_list()}

    def opened(self) -> Counter[str]:
        return Counter(
            client["name"] for client in self._raw.client_list() if client["id"] not in self._before
        )

    def total(self) -> int:
        return self.opened().total()

    async def settle_at(self, number: int) -> None:
        await eventually(lambda: self.total() == number, what=f"{number} connections, not {self.opened()}")


@pytest.fixture
def connections(own_server: ValkeyServer) -> Connections:
    """Of a server that no other test talks to."""
    return Connections(own_server.client())


# -- the document's table ------------------------------------------------------------------------------------


async def test_by_default_everybody_has_connections_of_their_own(
    own_server: ValkeyServer, connections: Connections, queue_name: str
) -> None:
    queue = Queue[Any, Any](queue_name, connection=own_server.url)
    producer = Producer[Any](queue_name, connection=own_server.url)
    flows = FlowProducer(connection=own_server.url)
    worker = Worker[Any, Any](queue_name, double, connection=own_server.url)
    events = QueueEvents(queue_name, connection=own_server.url)
    assert connections.total() == 0, "constructors connect to nothing"
    await queue.add("n", 1)
    await connections.settle_at(1)
    await producer.add("n", 1)
    await connections.settle_at(2)
    await flows.add({"name": "n", "queue_name": queue_name, "data": 1})
    await connections.settle_at(3)
    await worker.start()
    await connections.settle_at(5)
    await events.wait_until_ready()
    await connections.settle_at(6)
    for component in (events, worker, flows, producer, queue):
        await component.close()
    await connections.settle_at(0)


async def test_all_sharing_leaves_the_shared_connection_and_the_blocking_one(
    own_server: ValkeyServer, connections: Connections, queue_name: str
) -> None:
    async with await SharedClient.connect(own_server.url) as client:
        queues = [Queue[Any, Any](f"{queue_name}-{number}", client=client) for number in range(20)]
        producer = Producer[Any](queues[0].name, client=client)
        flows = FlowProducer(client=client)
        worker = Worker[Any, Any](queues[0].name, double, connection=own_server.url, command_client=client)
        await worker.start()
        for queue in queues:
            await queue.add("n", 1)
        await producer.add("n", 2)
        await flows.add({"name": "n", "queue_name": queues[0].name, "data": 3})
        await eventually(lambda: completed(queues[0], 3), what="three completed jobs")
        # Twenty queues, two producers and a worker at work.
        assert connections.opened() == {"glidemq": 1, "glidemq-reader": 1}
        # The document's close order: components first, then the client.
        for borrower in (*queues, producer, flows):
            await borrower.close()
        await worker.close()
        await connections.settle_at(1)
    await connections.settle_at(0)


async def completed(queue: Queue[Any, Any], number: int) -> bool:
    return (await queue.get_job_counts())["completed"] == number


async def test_work_with_a_shared_client_is_done_as_ever(
    own_server: ValkeyServer, connections: Connections, queue_name: str
) -> None:
    async with (
        await SharedClient.connect(own_server.url) as client,
        Queue[Any, Any](queue_name, client=client) as queue,
        Worker[Any, Any](queue_name, double, connection=own_server.url, client=client, concurrency=20),
    ):
        jobs = await queue.add_bulk([("n", number) for number in range(300)])
        await eventually(lambda: completed(queue, 300), what="300 completed jobs")
        last = await queue.get_job(jobs[-1].id)
        assert last is not None
        assert last.return_value == 598
        assert connections.total() == 2


# -- ownership -----------------------------------------------------------------------------------------------


async def test_closing_borrowers_leaves_the_client_open(own_server: ValkeyServer, queue_name: str) -> None:
    async with await SharedClient.connect(own_server.url) as client:
        borrower: Any
        for borrower in (
            Queue[Any, Any](queue_name, client=client),
            Producer[Any](queue_name, client=client),
            FlowProducer(client=client),
            Worker[Any, Any](queue_name, double, connection=own_server.url, client=client),
        ):
            await borrower.__aenter__()
            await borrower.close()
            await borrower.close()
        async with Queue[Any, Any](queue_name, client=client) as queue:
            assert await queue.add("n", 1) is not None


async def test_use_of_a_closed_client_is_an_error_not_a_new_connection(
    own_server: ValkeyServer, connections: Connections, queue_name: str
) -> None:
    client = await SharedClient.connect(own_server.url)
    queue = Queue[Any, Any](queue_name, client=client)
    await client.close()
    with pytest.raises(ClosedError, match="the connection is closed"):
        await queue.add("n", 1)
    await queue.close()
    await connections.settle_at(0)


async def test_a_worker_says_that_the_client_s_owner_must_act_and_can_still_be_closed(
    own_server: ValkeyServer, connections: Connections, queue_name: str
) -> None:
    client = await SharedClient.connect(own_server.url)
    errors: list[Exception] = []
    worker = Worker[Any, Any](
        queue_name, double, connection=own_server.url, client=client, promotion_interval=0.05
    )
    worker.on("error", errors.append)
    async with Queue[Any, Any](queue_name, connection=own_server.url) as queue:
        await worker.start()
        await client.close()
        await queue.add("n", 1)
        await eventually(lambda: bool(errors), what="an error event")
        assert isinstance(errors[0], ConnectionError)
        assert str(errors[0]).startswith(
            "Shared command client is unreachable. The client owner must handle reconnection."
        )
        async with asyncio.timeout(20):
            await worker.close(force=True)
        # What it left undone is done by the next one.
        async with Worker[Any, Any](queue_name, double, connection=own_server.url, stalled_interval=0.2):
            await eventually(lambda: completed(queue, 1), what="the job's completion")
    await connections.settle_at(0)


async def test_the_wrong_close_order_ends_all_the_same(
    own_server: ValkeyServer, connections: Connections, queue_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    started, go_on = asyncio.Event(), asyncio.Event()

    async def process(job: Job[Any, Any]) -> str:
        started.set()
        await go_on.wait()
        return "nobody hears this"

    client = await SharedClient.connect(own_server.url)
    worker = Worker[Any, Any](queue_name, process, connection=own_server.url, client=client)
    async with Queue[Any, Any](queue_name, connection=own_server.url) as queue:
        await worker.start()
        await queue.add("n", 1)
        await started.wait()
        await client.close()
        closing = asyncio.create_task(worker.close())
        await asyncio.sleep(0)
        go_on.set()
        async with asyncio.timeout(20):
            await closing
        assert "the shared client was closed before the worker" in caplog.text
        counts = await queue.get_job_counts()
        assert (counts["active"], counts["completed"]) == (1, 0)
    await connections.settle_at(0)


async def test_a_shared_client_comes_back_after_the_server_does(
    own_server: ValkeyServer, queue_name: str
) -> None:
    errors: list[Exception] = []
    impatient = ConnectionOptions.from_url(own_server.url, request_timeout=0.5, request_deadline=1)
    async with (
        await SharedClient.connect(impatient) as client,
        Queue[Any, Any](queue_name, client=client) as queue,
        Worker[Any, Any](queue_name, double, connection=own_server.url, client=client) as worker,
    ):
        worker.on("error", errors.append)
        own_server.kill()
        await eventually(lambda: bool(errors), what="an error event")
        assert "The client owner must handle reconnection." in str(errors[0])
        own_server.start()
        await queue.add("n", 21)
        await eventually(lambda: completed(queue, 1), what="the job's completion")


# -- what is refused -----------------------------------------------------------------------------------------


def test_documented_refusals() -> None:
    url = "valkey://127.0.0.1:1"
    client = SharedClient(ConnectionOptions.from_url(url))
    refusals: dict[str, Any] = {
        "QueueEvents does not accept an injected `client`. It uses blocking XREAD which requires a dedicated"
        " connection. Provide `connection` instead.": lambda: QueueEvents(
            "q",
            connection=url,
            client=client,  # type: ignore[arg-type]
        ),
        "Provide either `client` or `command_client`, not both.": lambda: Worker(
            "q", double, connection=url, client=client, command_client=client
        ),
        "Worker always requires `connection` even when `command_client` is provided, because the blocking client"
        " must be auto-created.": lambda: Worker("q", double, command_client=client),
        "Provide either `connection` or `client`, not both.": lambda: Queue(
            "q", connection=url, client=client
        ),
        "`client` must be an open SharedClient, not str: make one with `await SharedClient.connect(…)`": (
            lambda: Worker("q", double, connection=url, client="client")  # type: ignore[arg-type]
        ),
    }
    for text, refused in refusals.items():
        with pytest.raises(ValidationError) as caught:
            refused()
        assert str(caught.value) == text


# -- inflight_requests_limit ---------------------------------------------------------------------------------


async def test_requests_beyond_the_limit_wait_their_turn(own_server: ValkeyServer, queue_name: str) -> None:
    options = ConnectionOptions.from_url(own_server.url, inflight_requests_limit=1)
    async with await SharedClient.connect(options) as client:
        queues = [Queue[Any, Any](f"{queue_name}-{number}", client=client) for number in range(50)]
        # Each queue sends its own calls, a few turns of the loop apart.
        rounds = [asyncio.gather(*(queue.add("n", number) for queue in queues)) for number in range(5)]
        await asyncio.gather(*rounds)
        assert [await queue.count() for queue in queues] == [5] * 50


async def test_the_default_limit_is_the_documented_one() -> None:
    assert ConnectionOptions.from_url("valkey://localhost").inflight_requests_limit == 1000


def test_a_plain_client_of_valkey_is_no_shared_client(own_server: ValkeyServer) -> None:
    plain: valkey.Valkey = own_server.client()
    with pytest.raises(ValidationError, match="`client` must be an open SharedClient, not Valkey"):
        Queue("q", client=plain)  # type: ignore[arg-type]
    plain.close()
