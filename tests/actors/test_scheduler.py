"""The scheduler actor alone: when it ticks, what it says, and what it survives."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from typing import Any

import pytest
import valkey

from glidemq.actors import scheduler as module
from glidemq.actors.scheduler import Scheduler
from glidemq.clock import monotonic_s, wall_ms
from glidemq.commands.fire_schedulers import FireSchedulersCommand
from glidemq.commands.keys import QueueKeys
from glidemq.config import ConnectionOptions
from glidemq.connection import CommandConnection
from tests.testkit.server import ValkeyServer
from tests.testkit.waiting import eventually

INTERVAL_S = 0.05


class WatchedConnection(CommandConnection):
    """A connection that remembers when which queue was ticked."""

    def __init__(self, url: str) -> None:
        super().__init__(ConnectionOptions.from_url(url))
        self.ticks: list[tuple[float, str]] = []

    async def execute(self, command: Any) -> Any:
        if isinstance(command, FireSchedulersCommand):
            self.ticks.append((monotonic_s(), command.queue_key))
        return await super().execute(command)


class Schedule:
    """One queue's schedulers, written with plain commands."""

    def __init__(self, client: Any, name: str) -> None:
        self.client = client
        self.keys = QueueKeys("glide", name)

    def write(self, name: str, **entry: Any) -> None:
        text = json.dumps({"iterationCount": 0, "template": {}, **entry})
        self.client.hset(f"{self.keys.base}:schedulers", name, text)

    def entry(self, name: str) -> dict[str, Any]:
        entry: dict[str, Any] = json.loads(self.client.hget(f"{self.keys.base}:schedulers", name))
        return entry

    def added(self) -> int:
        count: int = self.client.xlen(self.keys.stream)
        return count


@pytest.fixture
def schedule(raw: valkey.Valkey, queue_name: str) -> Schedule:
    return Schedule(raw, queue_name)


Start = Callable[..., Scheduler]


@pytest.fixture
async def connection(server: ValkeyServer) -> AsyncIterator[WatchedConnection]:
    async with WatchedConnection(server.url) as connection:
        yield connection


@pytest.fixture
async def start(connection: WatchedConnection) -> AsyncIterator[Start]:
    """Starts an actor over some queues."""
    started: list[Scheduler] = []

    def make(*queues: QueueKeys, over: CommandConnection = connection) -> Scheduler:
        actor = Scheduler(connection=over, queues=lambda: queues, interval_s=INTERVAL_S)
        started.append(actor)
        actor.start()
        return actor

    yield make
    for actor in started:
        await actor.stop()


async def test_slots_are_fired_when_they_are_due(schedule: Schedule, start: Start) -> None:
    begun = wall_ms()
    schedule.write("s", every=40, nextRun=begun + 40)
    start(schedule.keys)
    await eventually(lambda: schedule.added() >= 5, "five runs")
    entry = schedule.entry("s")
    assert (entry["nextRun"] - begun) % 40 == 0
    assert entry["iterationCount"] <= (entry["lastRun"] - begun) // 40


async def test_cron_pattern_fires_and_names_its_next_slot(schedule: Schedule, start: Start) -> None:
    schedule.write("c", pattern="0 0 1 1 *", tz="Europe/Berlin", nextRun=wall_ms() - 5)
    start(schedule.keys)
    await eventually(lambda: schedule.added() == 1, "the run")
    assert schedule.entry("c")["nextRun"] > wall_ms()
    assert not schedule.client.exists(f"{schedule.keys.base}:schedulers:lock:__tick__")


async def test_queue_without_schedulers_is_hardly_asked(
    schedule: Schedule,
    start: Start,
    connection: WatchedConnection,
    queue_name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "IDLE_S", 0.3)
    idle, busy = QueueKeys("glide", f"{queue_name}-idle"), schedule.keys
    schedule.write("s", every=3_600_000, nextRun=wall_ms() + 3_600_000)
    start(idle, busy)

    def ticks(queue: QueueKeys) -> list[float]:
        return [at for at, key in connection.ticks if key == queue.meta]

    await eventually(lambda: len(ticks(idle)) == 3, "three looks at the idle queue")
    looks = ticks(idle)
    assert all(later - earlier >= 0.3 for earlier, later in pairwise(looks))
    # Whoever has schedulers is looked at for changes more often, but not more often than the interval says.
    looks = ticks(busy)
    assert all(later - earlier >= INTERVAL_S for earlier, later in pairwise(looks))
    assert len(looks) > 3


async def test_looks_at_several_queues_leave_in_one_batch(
    schedule: Schedule, start: Start, connection: WatchedConnection, queue_name: str
) -> None:
    queues = [QueueKeys("glide", f"{queue_name}-{number}") for number in range(5)]
    start(*queues)
    await eventually(lambda: len(connection.ticks) >= 5, "a look at each")
    first = [at for at, _ in connection.ticks[:5]]
    assert {key for _, key in connection.ticks[:5]} == {queue.meta for queue in queues}
    assert max(first) - min(first) < 0.05


async def test_scheduler_that_appears_is_found(
    schedule: Schedule, start: Start, connection: WatchedConnection
) -> None:
    start(schedule.keys)
    await eventually(lambda: connection.ticks, "a look at nothing")
    schedule.write("s", every=3_600_000, nextRun=wall_ms())
    await eventually(lambda: schedule.added() == 1, "its run", within_s=10)


async def test_pattern_that_cannot_be_read_is_said_once_and_stops_nobody(
    schedule: Schedule, start: Start, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.ERROR, "glidemq.actors")
    schedule.write("bad", pattern="0 0 L * *", nextRun=wall_ms() - 1)
    schedule.write("nowhere", pattern="* * * * *", tz="Mars/Olympus", nextRun=wall_ms() - 1)
    schedule.write("good", every=50, nextRun=wall_ms())
    start(schedule.keys)
    await eventually(lambda: schedule.added() >= 3, "runs of the good one")
    complaints = sorted(record.getMessage() for record in caplog.records)
    queue = schedule.keys.queue
    assert complaints == [
        f"scheduler 'bad' of queue '{queue}' cannot run here: Invalid cron token: L",
        f"scheduler 'nowhere' of queue '{queue}' cannot run here: Invalid timezone: Mars/Olympus",
    ]
    assert schedule.entry("bad")["iterationCount"] == 0


async def test_template_that_is_too_large_is_named(
    schedule: Schedule, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR, "glidemq.actors")
    schedule.write("big", every=50, template={"data": "x" * 1_048_576}, nextRun=wall_ms())
    start(schedule.keys)
    await eventually(lambda: caplog.records, "the complaint")
    assert "'big'" in caplog.text
    assert "exceeds 1 MiB" in caplog.text


async def test_lock_in_foreign_hands_is_waited_for(
    schedule: Schedule, start: Start, connection: WatchedConnection
) -> None:
    lock = f"{schedule.keys.base}:schedulers:lock:__tick__"
    schedule.client.set(lock, "feedfacefeedface", px=60_000)
    schedule.write("s", every=3_600_000, nextRun=wall_ms())
    start(schedule.keys)
    await eventually(lambda: len(connection.ticks) >= 3, "some looks")
    assert schedule.added() == 0
    schedule.client.delete(lock)
    await eventually(lambda: schedule.added() == 1, "the run")


async def test_server_that_went_away_and_came_back_is_ticked_again(
    own_server: ValkeyServer, start: Start
) -> None:
    client = own_server.client()
    schedule = Schedule(client, "q")
    async with WatchedConnection(own_server.url) as connection:
        actor = start(schedule.keys, over=connection)
        schedule.write("s", every=50, nextRun=wall_ms())
        await eventually(lambda: schedule.added() >= 1, "a run")
        client.execute_command("WAITAOF", 1, 0, 5000)
        own_server.kill()
        own_server.start()
        before = schedule.added()
        await eventually(lambda: schedule.added() > before, "a run after the outage")
        await actor.stop()
    client.close()


async def test_full_server_delays_the_runs_and_ends_nothing(own_server: ValkeyServer, start: Start) -> None:
    client: Any = own_server.client()
    schedule = Schedule(client, "q")
    async with WatchedConnection(own_server.url) as connection:
        actor = start(schedule.keys, over=connection)
        await eventually(lambda: connection.ticks, "the library is loaded")
        schedule.write("s", every=50, nextRun=wall_ms())
        await eventually(lambda: schedule.added() >= 1, "a run")
        client.config_set("maxmemory", 1)
        ticked = len(connection.ticks)
        await eventually(lambda: len(connection.ticks) > ticked + 2, "refused looks")
        before = schedule.added()
        client.config_set("maxmemory", 0)
        await eventually(lambda: schedule.added() > before, "a run when there is memory again")
        await actor.stop()
    client.close()


async def test_broken_id_counter_delays_the_runs_and_ends_nothing(
    schedule: Schedule, start: Start, connection: WatchedConnection
) -> None:
    schedule.client.set(schedule.keys.id, "text")
    schedule.write("s", every=3_600_000, nextRun=wall_ms())
    start(schedule.keys)
    await eventually(lambda: len(connection.ticks) >= 3, "refused looks")
    assert schedule.added() == 0
    schedule.client.set(schedule.keys.id, "7")
    await eventually(lambda: schedule.added() == 1, "the run")


async def test_it_stops_at_once_and_twice(
    schedule: Schedule, start: Start, connection: WatchedConnection
) -> None:
    actor = start(schedule.keys)
    await eventually(lambda: connection.ticks, "a look")
    async with asyncio.timeout(5):
        await actor.stop()
        await actor.stop()
    ticked = len(connection.ticks)
    schedule.write("s", every=1, nextRun=wall_ms())
    await connection.execute(FireSchedulersCommand(schedule.keys.meta, token="0" * 16, lock_ms=1, limit=1))
    assert len(connection.ticks) == ticked + 1
