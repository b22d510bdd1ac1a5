"""Following a queue's events: typed, in order, each once, also across lost connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import valkey

from glidemq import (
    AddedEvent,
    ClosedError,
    CompletedEvent,
    CountEvent,
    DelayChangedEvent,
    Event,
    FailedEvent,
    PriorityChangedEvent,
    ProgressEvent,
    QueueEvents,
    RetryingEvent,
    ServerError,
    ValidationError,
)
from glidemq.client.events import parse_event
from glidemq.payload import PLAIN_PAYLOAD
from tests.client.conftest import AnyQueue
from tests.testkit.server import ValkeyServer

DEADLINE_S = 20


@pytest.fixture
async def events(server: ValkeyServer, queue_name: str) -> AsyncIterator[QueueEvents]:
    async with QueueEvents(queue_name, connection=server.url) as events:
        yield events


async def take(events: QueueEvents, count: int) -> list[Event]:
    async with asyncio.timeout(DEADLINE_S):
        return [await anext(events) for _ in range(count)]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():
            await asyncio.sleep(0.005)


def reads_so_far(raw: valkey.Valkey) -> int:
    stats: Any = raw.info("commandstats")
    return int(stats.get("cmdstat_xread", {"calls": 0})["calls"])


def emit(raw: valkey.Valkey, key: str, **fields: str) -> None:
    raw.xadd(key, dict(fields))


# -- parsing -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "kind", "members"),
    [
        ({"event": "added", "jobId": "1", "name": "n"}, AddedEvent, {"job_name": "n"}),
        ({"event": "completed", "jobId": "1", "returnvalue": "[1]"}, CompletedEvent, {"return_value": [1]}),
        ({"event": "completed", "jobId": "1"}, CompletedEvent, {"return_value": None}),
        ({"event": "failed", "jobId": "1", "failedReason": "bad"}, FailedEvent, {"failed_reason": "bad"}),
        (
            {"event": "retrying", "jobId": "1", "failedReason": "bad", "attemptsMade": "2", "delay": "1500"},
            RetryingEvent, {"failed_reason": "bad", "attempts_made": 2, "delay": 1.5},
        ),
        ({"event": "progress", "jobId": "1", "data": "42.5"}, ProgressEvent, {"data": 42.5}),
        ({"event": "priority-changed", "jobId": "1", "priority": "9"}, PriorityChangedEvent, {"priority": 9}),
        ({"event": "delay-changed", "jobId": "1", "delay": "250"}, DelayChangedEvent, {"delay": 0.25}),
        ({"event": "drained", "jobId": "17"}, CountEvent, {"count": 17, "job_id": ""}),
        ({"event": "stalled", "jobId": "1"}, Event, {}),
        ({"event": "of-the-future", "jobId": "1", "x": "y"}, Event, {}),
        ({"event": "completed", "jobId": "1", "returnvalue": "{nope"}, Event, {}),
        ({"event": "retrying", "jobId": "1"}, Event, {}),
        ({"event": "progress", "jobId": "1"}, Event, {}),
        ({"nonsense": "1"}, Event, {"name": "", "job_id": ""}),
    ],
)  # fmt: skip
def test_entry_becomes_a_typed_event(
    fields: dict[str, str], kind: type[Event], members: dict[str, Any]
) -> None:
    entry = {name.encode(): value.encode() for name, value in fields.items()}
    event = parse_event(b"1795312102320-3", entry, PLAIN_PAYLOAD)
    assert type(event) is kind
    expected: dict[str, Any] = {"name": fields.get("event"), "job_id": fields.get("jobId"), **members}
    assert {name: getattr(event, name) for name in expected} == expected
    assert event.raw == fields
    assert event.timestamp == datetime(2026, 11, 22, 1, 48, 22, 320_000, UTC)


# -- iterating -----------------------------------------------------------------------------------------------


async def test_events_from_readiness_on_arrive_in_order(queue: AnyQueue, events: QueueEvents) -> None:
    jobs = await queue.add_bulk([("n", n) for n in range(250)])
    await queue.pause()
    seen = await take(events, 251)
    assert [(event.name, event.job_id) for event in seen] == [("added", job.id) for job in jobs] + [
        ("paused", "0")
    ]
    first = seen[0]
    assert isinstance(first, AddedEvent)
    assert first.job_name == "n"


async def test_earlier_events_are_not_seen_unless_asked_for(
    server: ValkeyServer, queue: AnyQueue, queue_name: str
) -> None:
    await queue.add_bulk([("n", n) for n in range(3)])
    async with QueueEvents(queue_name, connection=server.url) as fresh:
        await queue.add("after", 1)
        [event] = await take(fresh, 1)
        assert (event.name, event.job_id) == ("added", "4")
    async with QueueEvents(queue_name, connection=server.url, last_event_id="0") as replay:
        replayed = await take(replay, 4)
        assert [event.job_id for event in replayed] == ["1", "2", "3", "4"]
        assert replay.last_event_id == replayed[-1].id
    async with QueueEvents(queue_name, connection=server.url, last_event_id=replayed[1].id) as rest:
        assert [event.job_id for event in await take(rest, 2)] == ["3", "4"]


async def test_read_that_waits_out_its_time_misses_nothing_after_it(
    server: ValkeyServer, queue: AnyQueue, queue_name: str, raw: valkey.Valkey
) -> None:
    async with QueueEvents(queue_name, connection=server.url, block=0.01) as events:
        reading = asyncio.create_task(take(events, 20))
        for n in range(20):
            reads = reads_so_far(raw)
            await until(lambda reads=reads: reads_so_far(raw) > reads)  # type: ignore[misc] # one ended empty
            emit(raw, queue.keys.events, event="stalled", jobId=str(n))
        assert [event.job_id for event in await reading] == [str(n) for n in range(20)]


async def test_closing_ends_an_iteration_under_way(events: QueueEvents) -> None:
    async def everything() -> list[Event]:
        return [event async for event in events]

    reading = asyncio.create_task(everything())
    await asyncio.sleep(0)
    await asyncio.gather(events.close(), events.close())
    assert await asyncio.wait_for(reading, DEADLINE_S) == []
    await events.close()
    with pytest.raises(ClosedError):
        events.on("added", print)
    with pytest.raises(ClosedError):
        await events.wait_until_ready()


async def test_lost_connections_leave_no_gap(
    server: ValkeyServer, queue: AnyQueue, queue_name: str, raw: valkey.Valkey
) -> None:
    async with QueueEvents(queue_name, connection=server.url, block=0.2) as events:
        reading = asyncio.create_task(take(events, 60))
        for n in range(60):
            emit(raw, queue.keys.events, event="stalled", jobId=str(n))
            if n % 15 == 7:
                await until(lambda: bool(readers(raw)))
                for client_id in readers(raw):
                    raw.client_kill_filter(_id=client_id)
        assert [event.job_id for event in await reading] == [str(n) for n in range(60)]


def readers(raw: valkey.Valkey) -> list[str]:
    """The connections of those who read events."""
    clients: Any = raw.client_list()
    return [client["id"] for client in clients if client["name"] == "glidemq-events"]


async def test_log_that_is_no_stream_ends_the_iteration_with_the_server_s_error(
    server: ValkeyServer,
    queue: AnyQueue,
    queue_name: str,
    raw: valkey.Valkey,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with QueueEvents(queue_name, connection=server.url) as iterated:
        raw.set(queue.keys.events, "no stream")
        with pytest.raises(ServerError, match="WRONGTYPE"):
            await take(iterated, 1)
    handled = QueueEvents(queue_name, connection=server.url)
    handled.on("added", print)
    await until(lambda: "no more events of queue" in caplog.text)
    await handled.close()


async def test_restarted_server_is_waited_for(own_server: ValkeyServer, queue_name: str) -> None:
    key = f"glide:{{{queue_name}}}:events"
    async with QueueEvents(queue_name, connection=own_server.url, block=0.2) as events:
        reading = asyncio.create_task(take(events, 2))
        raw = own_server.client()
        raw.config_set("appendfsync", "always")
        emit(raw, key, event="stalled", jobId="before")
        own_server.kill()
        own_server.start()
        raw = own_server.client()
        emit(raw, key, event="stalled", jobId="after")
        assert [event.job_id for event in await reading] == ["before", "after"]


# -- handlers ------------------------------------------------------------------------------------------------


async def test_handlers_get_their_events_in_order_and_survive_each_other(
    server: ValkeyServer,
    queue: AnyQueue,
    queue_name: str,
    raw: valkey.Valkey,
    caplog: pytest.LogCaptureFixture,
) -> None:
    seen: list[str] = []

    async def on_completed(event: CompletedEvent) -> None:
        await asyncio.sleep(0)
        seen.append(f"completed {event.job_id} {event.return_value}")

    def on_added(event: AddedEvent) -> None:
        seen.append(f"added {event.job_id} {event.job_name}")
        if event.job_id == "1":
            raise RuntimeError("boom")

    async with QueueEvents(queue_name, connection=server.url) as events:
        events.on("completed", on_completed)
        events.on("added", on_added)
        events.on("added", lambda event: seen.append(f"again {event.job_id}"))
        await events.wait_until_ready()
        await queue.add("n", 1)
        emit(raw, queue.keys.events, event="completed", jobId="1", returnvalue="5")
        emit(raw, queue.keys.events, event="completed", jobId="2", returnvalue="{nope")
        await queue.add("m", 1)
        await until(lambda: len(seen) >= 5)
    assert seen == ["added 1 n", "again 1", "completed 1 5", "added 2 m", "again 2"]
    assert "the handler of 'added' of queue" in caplog.text
    assert "has fields that make no sense" in caplog.text


async def test_handlers_start_reading_by_themselves(
    server: ValkeyServer, queue: AnyQueue, queue_name: str
) -> None:
    seen: list[Event] = []
    events = QueueEvents(queue_name, connection=server.url, last_event_id="0")
    await queue.add("n", 1)
    events.on("added", seen.append)
    await until(lambda: bool(seen))
    await events.close()


async def test_one_object_is_iterated_or_has_handlers_not_both(events: QueueEvents, queue: AnyQueue) -> None:
    await queue.add("n", 1)
    await take(events, 1)
    with pytest.raises(ValidationError, match="add handlers to another QueueEvents"):
        events.on("added", print)
    other = QueueEvents(queue.name, connection="valkey://127.0.0.1:1")
    other.on("added", print)
    with pytest.raises(ValidationError, match="iterate over another QueueEvents"):
        await anext(other)
    await other.close()


# -- arguments -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"client": object()},
         "QueueEvents does not accept an injected `client`. It uses blocking XREAD which "
         "requires a dedicated connection. Provide `connection` instead."),
        ({"block": 0}, "block must be a positive finite number of seconds or a timedelta"),
        ({"block": 11}, "block must be at most 10 seconds"),
        ({"block": 5000},
         "block=5_000 means 1:23:20: durations are in seconds, so 5_000 milliseconds are block=5;"
         " pass a timedelta for 1000 seconds and more"),
        ({"last_event_id": "now"}, 'last_event_id must be "$", "0" or the id of an event, not \'now\''),
        ({"last_event_id": 0}, 'last_event_id must be "$", "0" or the id of an event, not 0'),
        ({"name": ""}, "Queue name must be a non-empty string"),
        ({"prefix": ""}, "prefix must be a non-empty string without curly braces"),
    ],
)  # fmt: skip
def test_bad_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        QueueEvents(**{"name": "q", "connection": "valkey://127.0.0.1:1", **arguments})
    assert str(caught.value) == message


async def test_name_of_no_event_is_refused_with_a_suggestion(queue_name: str) -> None:
    events = QueueEvents(queue_name, connection="valkey://127.0.0.1:1")
    misspelt: Any = "complete"
    with pytest.raises(ValidationError, match=r"Unknown event 'complete': did you mean 'completed'\?"):
        events.on(misspelt, print)
    await events.close()
