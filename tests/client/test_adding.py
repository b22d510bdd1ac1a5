"""Adding jobs: what is stored, what counts as a duplicate, how many calls leave, and who gets which error."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import signal
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import valkey

from glidemq import (
    Backoff,
    ClosedError,
    ConnectionOptions,
    Job,
    Queue,
    QueueFullError,
    Retention,
    SerializationError,
    SharedClient,
    UnknownOutcomeError,
    ValidationError,
)
from glidemq.client.adder import MAX_ROWS_PER_CALL
from tests.client.conftest import AnyQueue, hash_of
from tests.client.test_job_options import REFUSED
from tests.testkit.server import ValkeyServer


def enqueue_calls(raw: valkey.Valkey) -> int:
    """Calls of functions so far, of whichever connection."""
    stats: Any = raw.info("commandstats")
    return int(stats.get("cmdstat_fcall", {"calls": 0})["calls"])


# -- what is stored ------------------------------------------------------------------------------------------


async def test_added_job_is_stored_as_every_glide_mq_stores_it(queue: AnyQueue, raw: valkey.Valkey) -> None:
    job = await queue.add("paused-job", {"a": 1})
    assert job is not None
    assert (job.id, job.name, job.data, job.attempts_made, job.opts) == ("1", "paused-job", {"a": 1}, 0, {})
    stored = hash_of(raw, queue, "1")
    assert abs(datetime.now(UTC).timestamp() * 1000 - int(stored.pop("timestamp"))) < 60_000
    assert stored == {
        "id": "1", "name": "paused-job", "data": '{"a":1}', "opts": "{}", "attemptsMade": "0", "delay": "0",
        "priority": "0", "maxAttempts": "0", "state": "waiting",
    }  # fmt: skip


async def test_options_are_stored_verbatim_and_derived(queue: AnyQueue, raw: valkey.Valkey) -> None:
    job = await queue.add(
        "n",
        None,
        job_id="007",
        delay=timedelta(minutes=1),
        priority=3,
        ttl=90,
        attempts=5,
        backoff=Backoff.exponential(1.0, jitter=0.1),
        timeout=2,
        lock_duration=10,
        remove_on_complete=Retention(age=60),
        remove_on_fail=7,
    )
    assert job is not None
    assert job.id == "007"
    stored = hash_of(raw, queue, "007")
    assert stored["data"] == "null"
    assert json.loads(stored["opts"]) == {
        "jobId": "007", "delay": 60_000, "priority": 3, "ttl": 90_000, "attempts": 5,
        "backoff": {"type": "exponential", "delay": 1000, "jitter": 0.1}, "timeout": 2000,
        "lockDuration": 10_000, "removeOnComplete": {"age": 60}, "removeOnFail": 7,
    }  # fmt: skip
    assert int(stored["expireAt"]) - int(stored["timestamp"]) == 90_000
    assert (stored["delay"], stored["priority"], stored["maxAttempts"]) == ("60000", "3", "5")
    assert stored["state"] == "delayed"
    assert job.opts["backoff"] == Backoff.exponential(1.0, jitter=0.1)
    assert await job.get_state() == "delayed"


async def test_lifo_job_stands_in_its_list(queue: AnyQueue, raw: valkey.Valkey) -> None:
    job = await queue.add("n", 1, lifo=True)
    assert job is not None
    assert hash_of(raw, queue, job.id)["lifo"] == "1"
    assert raw.lrange(queue.keys.lifo, 0, -1) == [job.id.encode()]


@dataclasses.dataclass
class Page:
    url: str


async def test_data_of_a_model_is_stored_as_json_and_returned_as_given(
    server: ValkeyServer, queue_name: str, raw: valkey.Valkey
) -> None:
    async with Queue[Page, None](queue_name, connection=server.url) as queue:
        page = Page("a/b")
        job = await queue.add("n", page)
        assert job is not None
        assert job.data is page
        assert hash_of(raw, queue, job.id)["data"] == '{"url":"a/b"}'


async def test_events_can_be_saved(server: ValkeyServer, queue_name: str, raw: valkey.Valkey) -> None:
    async with (
        AnyQueue(queue_name, connection=server.url, events=False) as quiet,
        AnyQueue(queue_name, connection=server.url) as loud,
    ):
        await quiet.add("n", 1)
        await quiet.add_bulk([("n", 1)])
        assert raw.xlen(quiet.keys.events) == 0
        await loud.add("n", 1)
        assert raw.xlen(quiet.keys.events) == 1


# -- duplicates ----------------------------------------------------------------------------------------------


async def test_second_add_of_an_id_adds_nothing(queue: AnyQueue, raw: valkey.Valkey) -> None:
    assert await queue.add("first", 1, job_id="a") is not None
    assert await queue.add("second", 2, job_id="a") is None
    assert hash_of(raw, queue, "a")["name"] == "first"
    assert raw.xlen(queue.keys.stream) == 1


async def test_of_equal_ids_added_at_once_the_first_wins(queue: AnyQueue) -> None:
    jobs = await asyncio.gather(*(queue.add(f"n{n}", n, job_id="a") for n in range(5)))
    assert [job.name if job else None for job in jobs] == ["n0", None, None, None, None]


async def test_bulk_omits_duplicates_and_keeps_the_order(queue: AnyQueue) -> None:
    await queue.add("old", 0, job_id="b")
    jobs = await queue.add_bulk(
        [
            ("n", 1, {"job_id": "a"}),
            ("n", 2, {"job_id": "b"}),
            ("n", 3, {"job_id": "a"}),
            ("n", 4),
            ("n", 5, {}),
        ]
    )
    assert [(job.id, job.data) for job in jobs] == [("a", 1), ("1", 4), ("2", 5)]


# -- calls ---------------------------------------------------------------------------------------------------


async def test_adds_in_flight_together_share_calls_and_keep_their_order(
    queue: AnyQueue, raw: valkey.Valkey
) -> None:
    await queue.add("first", 0)  # connect, load the library
    before = enqueue_calls(raw)
    jobs = await asyncio.gather(*(queue.add("n", n) for n in range(100)))
    assert enqueue_calls(raw) - before == 1
    assert [(job.id, job.data) for job in jobs if job] == [(str(n + 2), n) for n in range(100)]


async def test_adds_made_while_a_call_is_under_way_leave_together_in_the_next(
    queue: AnyQueue, raw: valkey.Valkey
) -> None:
    await queue.add("first", 0)
    before = enqueue_calls(raw)
    first = asyncio.create_task(queue.add("n", 0))
    later: list[asyncio.Task[Job[Any, Any] | None]] = []
    for n in range(1, 6):  # one per turn of the loop: the first call is on its way before the last is made
        await asyncio.sleep(0)
        later.append(asyncio.create_task(queue.add("n", n)))
    jobs = await asyncio.gather(first, *later)
    assert enqueue_calls(raw) - before <= 2
    assert [job.data for job in jobs if job] == list(range(6))
    assert [int(job.id) for job in jobs if job] == list(range(2, 8))


async def test_call_holds_a_bounded_number_of_jobs_and_bytes(queue: AnyQueue, raw: valkey.Valkey) -> None:
    await queue.add("first", 0)
    before = enqueue_calls(raw)
    await asyncio.gather(*(queue.add("n", "x" * 400_000) for _ in range(5)))
    assert enqueue_calls(raw) - before == 3
    await queue.add_bulk([("n", n) for n in range(2 * MAX_ROWS_PER_CALL + 1)])
    assert enqueue_calls(raw) - before == 6
    await queue.add_bulk([("n", "x" * 400_000) for _ in range(5)])
    assert enqueue_calls(raw) - before == 9


async def test_bulk_over_many_calls_keeps_the_order(queue: AnyQueue, raw: valkey.Valkey) -> None:
    count = 3 * MAX_ROWS_PER_CALL + 7
    jobs = await queue.add_bulk(("n", n) for n in range(count))
    assert [(int(job.id), job.data) for job in jobs] == [(n + 1, n) for n in range(count)]
    assert raw.xlen(queue.keys.stream) == count
    assert await queue.add_bulk([]) == []


# -- bad input -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("options", "message"), REFUSED)
async def test_bad_options_are_refused_before_any_call(
    unreachable: AnyQueue, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        await unreachable.add("n", 1, **options)
    assert str(caught.value) == message
    with pytest.raises(ValidationError) as in_bulk:
        await unreachable.add_bulk([("n", 1), ("n", 1, options)])  # type: ignore[list-item]
    assert str(in_bulk.value) == message
    assert in_bulk.value.__notes__ == ["This is job 1 of add_bulk; nothing was added."]


@pytest.mark.parametrize(
    ("name", "data", "error", "message"),
    [
        ("", 1, ValidationError, "Job name must be a non-empty string, not ''"),
        (None, 1, ValidationError, "Job name must be a non-empty string, not None"),
        ("x" * 257, 1, ValidationError, "Job name must be at most 256 characters"),
        ("n", {"a": {1}}, SerializationError, "data.a cannot be serialized to JSON: it is of type set"),
        ("n", [float("nan")], SerializationError, "data[0] cannot be serialized to JSON: it is nan"),
        ("n", "x" * 1_048_575, ValidationError, "Job data exceeds maximum size (1048577 bytes > 1048576"),
    ],
)  # fmt: skip
async def test_bad_name_or_data_is_refused_before_any_call(
    unreachable: AnyQueue, name: Any, data: object, error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as caught:
        await unreachable.add(name, data)
    assert str(caught.value).startswith(message)
    with pytest.raises(error) as in_bulk:
        await unreachable.add_bulk([(name, data)])
    assert str(in_bulk.value).startswith(message)


@pytest.mark.parametrize("job", ["ab", ("n",), ("n", 1, {}, 2), 5, {"name": "n"}, ("n", 1, 5)])
async def test_what_is_no_job_is_refused_by_position(unreachable: AnyQueue, job: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        await unreachable.add_bulk([("n", 1), job])
    assert "This is job 1 of add_bulk; nothing was added." in caught.value.__notes__


async def test_every_job_is_checked_before_the_first_call(queue: AnyQueue, raw: valkey.Valkey) -> None:
    good: list[Any] = [("n", n) for n in range(3 * MAX_ROWS_PER_CALL)]
    with pytest.raises(ValidationError):
        await queue.add_bulk([*good, ("n", 1, {"priority": 5000})])
    assert raw.exists(queue.keys.id) == 0


# -- who gets the error --------------------------------------------------------------------------------------


async def test_bad_add_fails_alone_among_adds_in_flight_together(queue: AnyQueue) -> None:
    options: list[dict[str, Any]] = [{}, {"priority": 9999}, {}, {"job_id": "a:b"}, {}]
    results = await asyncio.gather(
        *(queue.add("n", n, **o) for n, o in enumerate(options)), return_exceptions=True
    )
    assert [type(result) for result in results] == [Job, ValidationError, Job, ValidationError, Job]


async def test_call_that_fails_fails_its_own_adds_and_no_others(
    own_server: ValkeyServer, queue_name: str
) -> None:
    raw = own_server.client()
    async with AnyQueue(queue_name, connection=own_server.url) as queue:
        await queue.add("first", 0)
        raw.config_set("maxmemory", 1)
        results = await asyncio.gather(*(queue.add("n", n) for n in range(10)), return_exceptions=True)
        assert [type(result) for result in results] == [QueueFullError] * 10
        with pytest.raises(QueueFullError) as in_bulk:
            await queue.add_bulk([("n", n) for n in range(3 * MAX_ROWS_PER_CALL)])
        assert "0 of 1500 jobs had been added" in in_bulk.value.__notes__[0]
        raw.config_set("maxmemory", 0)
        job = await queue.add("after", 1)
        assert job is not None
        assert raw.xlen(queue.keys.stream) == 2
    raw.close()  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("bulk", [False, True])
async def test_call_whose_reply_is_late_is_repeated_and_adds_once(
    own_server: ValkeyServer, queue_name: str, bulk: bool
) -> None:
    connection = ConnectionOptions.from_url(own_server.url, request_timeout=0.2)
    raw = own_server.client()
    async with AnyQueue(queue_name, connection=connection) as queue:
        await queue.add("first", 0)
        before = enqueue_calls(raw)
        own_server.signal(signal.SIGSTOP)
        asyncio.get_running_loop().call_later(0.7, own_server.signal, signal.SIGCONT)
        added = await queue.add_bulk([("n", 1)]) if bulk else [await queue.add("n", 1)]
        assert [job.id for job in added if job] == ["2"]
        assert enqueue_calls(raw) - before >= 2
        assert raw.xlen(queue.keys.stream) == 2


async def test_call_without_any_reply_leaves_its_adds_in_doubt_and_no_others(
    own_server: ValkeyServer, queue_name: str
) -> None:
    connection = ConnectionOptions.from_url(own_server.url, request_timeout=0.2, request_deadline=0.5)
    async with AnyQueue(queue_name, connection=connection) as queue:
        await queue.add("first", 0)
        own_server.signal(signal.SIGSTOP)
        results = await asyncio.gather(*(queue.add("n", n) for n in range(3)), return_exceptions=True)
        own_server.signal(signal.SIGCONT)
        assert [type(result) for result in results] == [UnknownOutcomeError] * 3
        assert len({id(result) for result in results}) == 3
        assert await queue.add("after", 1) is not None


async def test_add_cancelled_before_its_call_leaves_is_taken_back(
    queue: AnyQueue, raw: valkey.Valkey
) -> None:
    await queue.add("first", 0)
    adds = [asyncio.create_task(queue.add("n", n)) for n in range(3)]
    await asyncio.sleep(0)  # the adds are made, the call is not
    adds[1].cancel()
    results = await asyncio.gather(*adds, return_exceptions=True)
    assert [type(result) for result in results] == [Job, asyncio.CancelledError, Job]
    assert raw.xlen(queue.keys.stream) == 3


async def test_add_cancelled_while_its_call_is_under_way_hurts_no_other(
    queue: AnyQueue, raw: valkey.Valkey
) -> None:
    await queue.add("first", 0)
    adds = [asyncio.create_task(queue.add("n", n)) for n in range(3)]
    while raw.xlen(queue.keys.stream) == 1:
        await asyncio.sleep(0)
    adds[1].cancel()
    results = await asyncio.gather(*adds, return_exceptions=True)
    assert {type(results[0]), type(results[2])} == {Job}
    assert raw.xlen(queue.keys.stream) == 4
    assert await queue.add("after", 1) is not None


# -- lifetime ------------------------------------------------------------------------------------------------


async def test_close_lets_adds_under_way_finish_and_refuses_later_ones(
    server: ValkeyServer, queue_name: str, raw: valkey.Valkey
) -> None:
    queue = AnyQueue(queue_name, connection=server.url)
    adds = asyncio.gather(*(queue.add("n", n) for n in range(10)))
    bulk = asyncio.create_task(queue.add_bulk([("n", n) for n in range(2000)]))
    await asyncio.sleep(0)
    await asyncio.gather(queue.close(), queue.close())
    assert len(await adds) == 10
    assert len(await bulk) == 2000
    assert raw.xlen(queue.keys.stream) == 2010
    await queue.close()
    for late in (queue.add("n", 1), queue.add_bulk([("n", 1)]), queue.get_job("1"), queue.pause()):
        with pytest.raises(ClosedError, match=r"^Queue is closing$"):
            await late


async def test_queue_that_was_never_used_closes_without_connecting() -> None:
    async with AnyQueue("q", connection="valkey://127.0.0.1:1"):
        pass


async def test_borrowed_client_is_shared_and_left_open(server: ValkeyServer, queue_name: str) -> None:
    async with await SharedClient.connect(server.url) as client:
        async with (
            AnyQueue(queue_name, client=client) as one,
            AnyQueue(f"{queue_name}b", client=client) as two,
        ):
            await asyncio.gather(one.add("n", 1), two.add("n", 1))
        await client.ping()
        async with AnyQueue(queue_name, client=client) as again:
            assert (await again.get_job_counts())["waiting"] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "a{b}"}, "Queue name must not contain curly braces or colons"),
        ({"name": "q", "prefix": "{"}, "prefix must be a non-empty string without curly braces"),
        ({"name": "q", "client": object()}, "Provide either `connection` or `client`, not both."),
    ],
)
def test_bad_queue_arguments_are_refused_without_an_event_loop(
    arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        AnyQueue(connection="valkey://127.0.0.1:1", **arguments)
    assert str(caught.value) == message
