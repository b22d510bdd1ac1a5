"""Adding without job objects, on a connection of one's own, a borrowed one, or one from the pool."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import valkey

from glidemq import (
    ClosedError,
    ConnectionOptions,
    Producer,
    Queue,
    SerializationError,
    ServerlessPool,
    SharedClient,
    ValidationError,
    serverless_pool,
)
from tests.client.conftest import AnyQueue
from tests.client.test_job_options import REFUSED
from tests.testkit.server import ValkeyServer
from tests.testkit.waiting import eventually

NO_SERVER = "valkey://127.0.0.1:1"


def job_as_stored(raw: Any, queue: AnyQueue, job_id: str) -> dict[bytes, bytes]:
    fields: dict[bytes, bytes] = raw.hgetall(queue.keys.job(job_id))
    for volatile in (b"id", b"timestamp", b"expireAt"):
        fields.pop(volatile, None)
    return fields


def connections(raw: valkey.Valkey) -> int:
    clients: Any = raw.client_list()
    return len(clients)


# -- Producer ------------------------------------------------------------------------------------------------


async def test_ids_come_back_and_none_for_duplicates(server: ValkeyServer, queue_name: str) -> None:
    async with Producer[Any](queue_name, connection=server.url) as producer:
        assert await producer.add("n", {"a": 1}) == "1"
        assert await producer.add("n", 1, job_id="x") == "x"
        assert await producer.add("n", 2, job_id="x") is None
        assert await producer.add_bulk([("n", 1), ("n", 2, {"job_id": "x"}), ("n", 3)]) == ["2", None, "3"]


async def test_jobs_are_stored_as_by_a_queue(
    server: ValkeyServer, raw: valkey.Valkey, queue: AnyQueue
) -> None:
    options: dict[str, Any] = {"attempts": 3, "ttl": 60, "priority": 2, "delay": 1, "backoff": {"delay": 1}}
    by_queue = await queue.add("n", {"a": 1}, **options)
    async with Producer[Any](queue.name, connection=server.url) as producer:
        by_producer = await producer.add("n", {"a": 1}, **options)
    assert by_queue is not None
    assert by_producer is not None
    assert job_as_stored(raw, queue, by_queue.id) == job_as_stored(raw, queue, by_producer)


@pytest.mark.parametrize(("options", "message"), REFUSED)
async def test_bad_options_are_refused_as_by_a_queue(options: dict[str, Any], message: str) -> None:
    async with Producer[Any]("q", connection=NO_SERVER) as producer:
        with pytest.raises(ValidationError, match=re.escape(message)):
            await producer.add("n", 1, **options)
        with pytest.raises(SerializationError):
            await producer.add_bulk([("n", {1, 2})])


async def test_closed_producer_adds_no_more(server: ValkeyServer, queue_name: str) -> None:
    producer = Producer[Any](queue_name, connection=server.url)
    last = asyncio.create_task(producer.add("n", 1))
    await asyncio.sleep(0)
    assert not producer.is_closed
    await producer.close()
    await producer.close()
    assert producer.is_closed
    assert await last == "1"
    with pytest.raises(ClosedError, match="Producer is closing"):
        await producer.add("n", 1)


async def test_borrowed_client_stays_open(server: ValkeyServer, queue_name: str) -> None:
    async with await SharedClient.connect(server.url) as client:
        async with Producer[Any](queue_name, client=client) as producer:
            assert await producer.add("n", 1) == "1"
        async with Producer[Any](queue_name, client=client) as producer:
            assert await producer.add("n", 1) == "2"


async def test_events_can_be_saved(server: ValkeyServer, raw: valkey.Valkey, queue: AnyQueue) -> None:
    async with Producer[Any](queue.name, connection=server.url, events=False, compression="gzip") as producer:
        await producer.add("n", {"a": 1})
    assert raw.exists(queue.keys.events) == 0
    [job] = await queue.get_jobs("waiting")
    assert job.data == {"a": 1}


# -- ServerlessPool ------------------------------------------------------------------------------------------


@pytest.fixture
async def pool() -> AsyncIterator[ServerlessPool]:
    pool = ServerlessPool()
    yield pool
    await pool.close_all()


async def test_warm_calls_share_a_producer_and_its_connection(
    server: ValkeyServer, raw: valkey.Valkey, queue_name: str, pool: ServerlessPool
) -> None:
    before = connections(raw)
    for expected in ("1", "2", "3"):
        assert await pool.get_producer(queue_name, connection=server.url).add("n", 1) == expected
    assert (pool.size, connections(raw)) == (1, before + 1)
    await pool.close_all()
    assert pool.size == 0
    await eventually(lambda: connections(raw) == before, what="the closed connection")
    assert await pool.get_producer(queue_name, connection=server.url).add("n", 1) == "4"


async def test_what_differs_gets_a_producer_of_its_own(pool: ServerlessPool) -> None:
    options = ConnectionOptions(addresses=(("a", 1),), username="u", password="p")
    others: list[dict[str, Any]] = [
        {"name": "r"},
        {"prefix": "other"},
        {"compression": "gzip"},
        {"events": False},
        {"connection": ConnectionOptions(addresses=(("b", 1),), username="u", password="p")},
        {"connection": ConnectionOptions(addresses=(("a", 1),), username="u", password="q")},
        {"connection": ConnectionOptions(addresses=(("a", 1),), username="v", password="p")},
        {"connection": ConnectionOptions(addresses=(("a", 1),), username="u", password="p", tls=True)},
        {"connection": ConnectionOptions(addresses=(("a", 1),), username="u", password="p", cluster=True)},
        {"connection": ConnectionOptions(addresses=(("a", 1),))},
    ]
    first = pool.get_producer("q", connection=options)
    producers = [pool.get_producer(**{"name": "q", "connection": options, **other}) for other in others]
    assert len({id(producer) for producer in [first, *producers]}) == len(others) + 1 == pool.size
    assert pool.get_producer("q", connection="valkey://u:p@a:1") is first
    assert pool.get_producer("q", connection=options, compression="none") is first


async def test_keys_hold_no_credentials(pool: ServerlessPool) -> None:
    pool.get_producer("q", connection="valkey://somebody:s3cr3t@a:1")
    keys = repr(list(pool._pooled))  # tuples of plain values: their repr shows all of them
    assert "'q'" in keys
    assert "s3cr3t" not in keys
    assert "somebody" not in keys
    # The digest is keyed: another pool's is another.
    other = ServerlessPool()
    other.get_producer("q", connection="valkey://somebody:s3cr3t@a:1")
    assert set(other._pooled) != set(pool._pooled)
    await other.close_all()


async def test_borrowed_clients_and_own_serializers_are_not_pooled(
    server: ValkeyServer, queue_name: str, pool: ServerlessPool
) -> None:
    class Own:
        def serialize(self, value: Any, /) -> str:
            return str(value)

        def deserialize(self, text: str, /) -> Any:
            return text

    async with await SharedClient.connect(server.url) as client:
        producer = pool.get_producer(queue_name, client=client)
        assert pool.get_producer(queue_name, client=client) is not producer
        assert await producer.add("n", 1) == "1"
    own = Own()
    async with pool.get_producer(queue_name, connection=server.url, serializer=own) as producer:
        assert pool.get_producer(queue_name, connection=server.url, serializer=own) is not producer
    assert pool.size == 0


async def test_producer_that_was_closed_from_outside_is_replaced(
    server: ValkeyServer, queue_name: str, pool: ServerlessPool
) -> None:
    producer = pool.get_producer(queue_name, connection=server.url)
    await producer.close()
    assert pool.size == 0
    assert await pool.get_producer(queue_name, connection=server.url).add("n", 1) == "1"


def test_every_event_loop_has_producers_of_its_own(server: ValkeyServer, queue_name: str) -> None:
    pool = ServerlessPool()

    async def call(close: bool) -> str | None:
        added: str | None = await pool.get_producer(queue_name, connection=server.url).add("n", 1)
        if close:
            await pool.close_all()
        return added

    assert [asyncio.run(call(close=True)) for _ in range(3)] == ["1", "2", "3"]
    assert pool.size == 0


async def test_bad_settings_are_not_kept(pool: ServerlessPool) -> None:
    with pytest.raises(ValidationError, match="Queue name must be a non-empty string"):
        pool.get_producer("", connection=NO_SERVER)
    with pytest.raises(ValidationError, match="compression must be"):
        pool.get_producer("q", connection=NO_SERVER, compression="lz4")  # type: ignore[arg-type]
    assert pool.size == 0


async def test_there_is_one_pool_per_process() -> None:
    from glidemq.client.serverless_pool import serverless_pool as same

    assert serverless_pool is same
    assert isinstance(serverless_pool, ServerlessPool)


async def test_queue_and_producer_refuse_a_client_that_is_none(queue_name: str) -> None:
    for kind in (Queue, Producer):
        with pytest.raises(ValidationError, match="`client` must be an open SharedClient, not object"):
            kind(queue_name, client=object())
        with pytest.raises(ValidationError, match="Provide either `connection` or `client`, not both"):
            kind(queue_name, connection=NO_SERVER, client=SharedClient(ConnectionOptions.from_url(NO_SERVER)))
