"""Each slot of a scheduler becomes one job, with any number of hosts, also when the leading one freezes and resumes."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import valkey

from glidemq.actors.scheduler import Scheduler
from glidemq.clock import wall_ms
from glidemq.commands.keys import QueueKeys
from glidemq.config import ConnectionOptions
from glidemq.connection import CommandConnection
from tests.testkit.server import ValkeyServer
from tests.testkit.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]
PR_SET_PDEATHSIG = 1


class Host:
    """A process that ticks the schedulers of a queue. Owns: the process."""

    def __init__(self, url: str, queue: str, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.promises.ticking_host", url, queue, *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL),
        )

    async def says(self, line: str) -> None:
        assert self.process.stdout is not None
        async with asyncio.timeout(60):
            assert await asyncio.to_thread(self.process.stdout.readline) == f"{line}\n"

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


class Schedule:
    """The queue's schedulers and what they have added."""

    def __init__(self, client: Any, name: str) -> None:
        self.client = client
        self.keys = QueueKeys("glide", name)

    def write(self, name: str, **entry: Any) -> None:
        text = json.dumps({"iterationCount": 0, "template": {}, **entry})
        self.client.hset(f"{self.keys.base}:schedulers", name, text)

    def entry(self, name: str) -> dict[str, Any]:
        entry: dict[str, Any] = json.loads(self.client.hget(f"{self.keys.base}:schedulers", name))
        return entry

    def added(self) -> list[tuple[str, int]]:
        """(scheduler, when) of every job, in the order of their ids; jobs are named after their schedulers."""
        jobs = []
        for number in range(1, int(self.client.get(self.keys.id) or 0) + 1):
            name, timestamp = self.client.hmget(self.keys.job(str(number)), "name", "timestamp")
            jobs.append((name.decode(), int(timestamp)))
        return jobs


@pytest.fixture
def schedule(raw: valkey.Valkey, queue_name: str) -> Schedule:
    return Schedule(raw, queue_name)


@pytest.fixture
def launch(server: ValkeyServer, queue_name: str) -> Iterator[Callable[..., Host]]:
    """Starts hosts that end with the test."""
    hosts: list[Host] = []

    def start(*arguments: str) -> Host:
        hosts.append(Host(server.url, queue_name, *arguments))
        return hosts[-1]

    yield start
    for host in hosts:
        host.end()


@pytest.fixture
async def here(server: ValkeyServer, schedule: Schedule) -> AsyncIterator[Callable[[], Scheduler]]:
    """Call to tick in this process, too, over a connection of its own each time."""
    running: list[tuple[Scheduler, CommandConnection]] = []

    def start() -> Scheduler:
        connection = CommandConnection(ConnectionOptions.from_url(server.url))
        actor = Scheduler(connection=connection, queues=lambda: [schedule.keys], interval_s=0.05)
        actor.start()
        running.append((actor, connection))
        return actor

    yield start
    for actor, connection in running:
        await actor.stop()
        await connection.close()


def assert_each_slot_once(schedule: Schedule, periods: dict[str, int], begun: int) -> None:
    added = schedule.added()
    slots = Counter((name, (at - begun) // periods[name]) for name, at in added)
    assert [slot for slot, count in slots.items() if count > 1] == []
    counts = Counter(name for name, _ in added)
    assert counts == {name: schedule.entry(name)["iterationCount"] for name in periods}


async def test_hosts_that_tick_at_once_fire_each_slot_once(
    schedule: Schedule, here: Callable[[], Scheduler]
) -> None:
    begun = wall_ms()
    periods = {"a": 20, "b": 30, "c": 50}
    for name, every in periods.items():
        schedule.write(name, every=every, nextRun=begun + every)
    hosts = [here() for _ in range(4)]
    await eventually(lambda: schedule.entry("a")["iterationCount"] >= 40, "forty runs")
    for host in hosts:
        await host.stop()
    assert_each_slot_once(schedule, periods, begun)
    assert len(schedule.added()) > 60


async def test_leader_frozen_with_the_lock_in_its_hands_fires_nothing_when_it_resumes(
    schedule: Schedule, launch: Callable[..., Host], here: Callable[[], Scheduler]
) -> None:
    # A slot that is past due, whose following one is months away.
    schedule.write("yearly", pattern="0 0 1 1 *", nextRun=wall_ms() - 1000)
    leader = launch("freeze")
    await leader.says("ticking")
    await leader.says("frozen")
    assert schedule.client.exists(f"{schedule.keys.base}:schedulers:lock:__tick__")
    assert schedule.added() == []

    here()
    await eventually(lambda: len(schedule.added()) == 1, "another host fires when the lock has expired")
    fired = schedule.entry("yearly")
    leader.send(signal.SIGCONT)
    await leader.says("resumed")
    # The resumed leader goes on ticking: it fires what comes next, and only that.
    schedule.write("next", every=3_600_000, nextRun=wall_ms())
    await eventually(lambda: len(schedule.added()) == 2, "the next scheduler's run")
    assert Counter(name for name, _ in schedule.added()) == {"yearly": 1, "next": 1}
    assert schedule.entry("yearly") == fired


async def test_hosts_that_freeze_and_resume_again_and_again_fire_each_slot_once(
    schedule: Schedule, launch: Callable[..., Host]
) -> None:
    hosts = [launch(), launch()]
    for host in hosts:
        await host.says("ticking")
    begun = wall_ms()
    periods = {"a": 25, "b": 40}
    for name, every in periods.items():
        schedule.write(name, every=every, nextRun=begun + every)

    def runs() -> int:
        return int(schedule.entry("a")["iterationCount"])

    for round_number in range(10):
        frozen, other = hosts[round_number % 2], hosts[1 - round_number % 2]
        before = runs()
        frozen.send(signal.SIGSTOP)
        await eventually(lambda before=before: runs() >= before + 4, "the other host goes on")  # type: ignore[misc]
        frozen.send(signal.SIGCONT)
        other.send(signal.SIGSTOP)
        await eventually(lambda before=before: runs() >= before + 8, "the resumed host goes on")  # type: ignore[misc]
        other.send(signal.SIGCONT)
    for host in hosts:
        host.end()
    assert_each_slot_once(schedule, periods, begun)
    assert runs() >= 80


async def test_schedulers_survive_a_restart_of_the_server(own_server: ValkeyServer) -> None:
    client = own_server.client()
    schedule = Schedule(client, "q")
    begun = wall_ms()
    schedule.write("s", every=100, nextRun=begun + 100)
    connection = CommandConnection(ConnectionOptions.from_url(own_server.url))
    actor = Scheduler(connection=connection, queues=lambda: [schedule.keys], interval_s=0.05)
    actor.start()
    await eventually(lambda: len(schedule.added()) >= 3, "three runs")
    await actor.stop()
    await connection.close()
    client.execute_command("WAITAOF", 1, 0, 5000)
    before = schedule.entry("s")
    own_server.kill()
    own_server.start()

    assert schedule.entry("s") == before
    async with CommandConnection(ConnectionOptions.from_url(own_server.url)) as connection:
        actor = Scheduler(connection=connection, queues=lambda: [schedule.keys], interval_s=0.05)
        actor.start()
        await eventually(
            lambda: schedule.entry("s")["iterationCount"] >= before["iterationCount"] + 3, "three more"
        )
        await actor.stop()
    assert_each_slot_once(schedule, {"s": 100}, begun)
    assert (schedule.entry("s")["nextRun"] - begun) % 100 == 0
    client.close()
