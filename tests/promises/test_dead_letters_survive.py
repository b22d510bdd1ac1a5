"""A kill between the failing call and the arrival in the dead letter queue loses no letter and doubles none."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from glidemq import Queue, SharedClient
from glidemq.client.dead_letter_carrier import DeadLetterCarrier
from glidemq.client.replay import Replayer
from glidemq.commands.command import Command
from glidemq.commands.keys import QueueKeys
from tests.lua.dead_letters import configure, fail_one, outbox
from tests.lua.driven_queue import DrivenQueue
from tests.testkit.process_tree import is_gone, send
from tests.testkit.runtime import Runtime
from tests.testkit.server import ValkeyServer
from tests.testkit.waiting import eventually

AnyQueue = Queue[Any, Any]
JOBS = 150


class KilledError(BaseException):
    """What takes the place of the SIGKILL."""


class DyingConnection:
    """Executes some calls, then its process is gone: before the next one is sent, or before that is answered."""

    def __init__(self, client: SharedClient, calls: int, *, answered: bool) -> None:
        self._client = client
        self._calls = calls
        self._answered = answered

    async def execute(self, command: Command[Any]) -> Any:
        self._calls -= 1
        if self._calls < 0:
            raise KilledError
        reply = await self._client.execute(command)
        if self._calls == 0 and not self._answered:
            raise KilledError
        return reply


async def stored_letters(queue: AnyQueue) -> list[str]:
    return [letter.data["originalJobId"] for letter in await queue.get_dead_letter_jobs()]


def set_clock(driven: DrivenQueue) -> None:
    """The driven queue goes by the server's clock, as the carriers do."""
    seconds, micros = driven.client.time()
    driven.now = seconds * 1000 + micros // 1000


@pytest.mark.parametrize("answered", [False, True])
@pytest.mark.parametrize("calls", range(4))
async def test_carrier_killed_at_any_call_loses_and_doubles_nothing(
    server: ValkeyServer, driven: DrivenQueue, calls: int, answered: bool
) -> None:
    set_clock(driven)
    configure(driven, f"{driven.name}-dead")
    ids = [fail_one(driven) for _ in range(3)]
    keys = QueueKeys("glide", driven.name)
    async with (
        await SharedClient.connect(server.url) as client,
        AnyQueue(driven.name, client=client) as queue,
    ):
        dying: Any = DyingConnection(client, calls, answered=answered)
        try:
            await DeadLetterCarrier(dying, keys).carry()
        except KilledError:
            driven.client.delete(f"{keys.base}:x-py:dead-letters:carrier")  # its lease has expired
        await DeadLetterCarrier(client, keys).carry()
        assert await stored_letters(queue) == ids
        assert outbox(driven) == []


async def test_carriers_that_overlap_double_nothing(server: ValkeyServer, driven: DrivenQueue) -> None:
    set_clock(driven)
    configure(driven, f"{driven.name}-dead")
    ids = [fail_one(driven) for _ in range(30)]
    keys = QueueKeys("glide", driven.name)

    class Hurried(DyingConnection):
        """Does not wait for its turn."""

        async def execute(self, command: Command[Any]) -> Any:
            driven.client.delete(f"{keys.base}:x-py:dead-letters:carrier")
            return await super().execute(command)

    async with (
        await SharedClient.connect(server.url) as client,
        AnyQueue(driven.name, client=client) as queue,
    ):
        carriers: list[Any] = [
            DeadLetterCarrier(Hurried(client, 1000, answered=True), keys)  # type: ignore[arg-type]
            for _ in range(5)
        ]
        await asyncio.gather(*(carrier.carry() for carrier in carriers))
        assert sorted(await stored_letters(queue), key=int) == ids


@pytest.mark.parametrize("answered", [False, True])
@pytest.mark.parametrize("calls", range(6))
async def test_replay_killed_at_any_call_can_be_repeated_and_makes_one_job(
    server: ValkeyServer, driven: DrivenQueue, calls: int, answered: bool
) -> None:
    set_clock(driven)
    dead = QueueKeys("glide", f"{driven.name}-dead")
    configure(driven, dead.queue)
    fail_one(driven)
    keys = QueueKeys("glide", driven.name)
    async with (
        await SharedClient.connect(server.url) as client,
        AnyQueue(driven.name, client=client) as queue,
    ):
        await DeadLetterCarrier(client, keys).carry()
        [letter] = await queue.get_dead_letter_jobs()
        dying: Any = DyingConnection(client, calls, answered=answered)
        try:
            await Replayer(dying, keys, dead).replay(letter.id)
        except KilledError:
            await queue.replay_dead_letter_job(letter.id)
        assert await queue.get_dead_letter_jobs() == []
        assert [job.id for job in await queue.get_jobs("waiting")] == ["2"]


async def test_replays_of_one_letter_at_once_make_one_job(server: ValkeyServer, driven: DrivenQueue) -> None:
    set_clock(driven)
    configure(driven, f"{driven.name}-dead")
    fail_one(driven)
    async with (
        await SharedClient.connect(server.url) as client,
        AnyQueue(driven.name, client=client) as queue,
    ):
        await DeadLetterCarrier(client, QueueKeys("glide", driven.name)).carry()
        [letter] = await queue.get_dead_letter_jobs()
        await asyncio.gather(*(queue.replay_dead_letter_job(letter.id) for _ in range(10)))
        assert await queue.count() == 1
        assert await queue.get_dead_letter_jobs() == []


# -- the multiprocess runtime ------------------------------------------------------------------------------------


class Site:
    """A runtime with dead letter queues, on a server of its own, to be killed and started again."""

    def __init__(self, server: ValkeyServer, directory: Path) -> None:
        self.server = server
        self._directory = directory
        self._runtimes: list[Runtime] = []

    async def start(self) -> Runtime:
        runtime = Runtime(
            self._directory / f"runtime-{len(self._runtimes)}",
            "tests.promises.dead_letter_app:app",
            url=self.server.url,
            effects=self._directory,
            arguments=["--procs", "1"],
            settings={"stalled_interval": 1},
        )
        self._runtimes.append(runtime)
        return await runtime.start().ready()

    def clean_up(self) -> None:
        for runtime in self._runtimes:
            runtime.clean_up()


@pytest.fixture
def site(own_server: ValkeyServer, tmp_path: Path) -> Iterator[Site]:
    site = Site(own_server, tmp_path)
    yield site
    site.clean_up()


@pytest.fixture
def own_raw(own_server: ValkeyServer) -> Iterator[Any]:
    client = own_server.client()
    yield client
    client.close()


@pytest.mark.parametrize("name", ["sync-orders", "async-orders"])
async def test_letters_of_a_killed_runtime_arrive_once_with_the_next_one(
    site: Site, own_raw: Any, name: str
) -> None:
    own_raw.set(f"glide:{{{name}-dead}}:id", "broken")  # nothing can arrive
    async with AnyQueue(name, connection=site.server.url) as queue:
        first = await site.start()
        await queue.add_bulk([("n", {"do": "raise"}) for _ in range(20)])

        def failed() -> bool:
            return own_raw.zcard(queue.keys.failed) == 20

        await eventually(failed, "every job has failed")
        assert own_raw.xlen(f"{queue.keys.base}:x-py:dead-letters") == 20
        processes = [first.pid, *first.tree()]
        send(processes, signal.SIGKILL)
        for pid in processes:
            await eventually(lambda pid=pid: is_gone(pid), "the runtime is gone")  # type: ignore[misc]
        assert own_raw.xlen(f"{queue.keys.base}:x-py:dead-letters") == 20
        own_raw.delete(f"glide:{{{name}-dead}}:id")
        await site.start()

        async def arrived() -> bool:
            return not own_raw.exists(f"{queue.keys.base}:x-py:dead-letters")

        await eventually(arrived, "the letters have arrived")
        assert sorted(await stored_letters(queue), key=int) == [str(number) for number in range(1, 21)]


async def test_every_letter_arrives_once_though_gateways_and_actors_are_killed(
    site: Site, own_raw: Any
) -> None:
    runtime = await site.start()
    async with AnyQueue("async-orders", connection=site.server.url) as queue:
        for killed in range(1, 4):
            await queue.add_bulk([("n", {"do": "raise", "order": killed}) for _ in range(JOBS // 3)])
            some = JOBS // 3 * (killed - 1) + 10

            def progress(some: int = some) -> bool:
                return own_raw.zcard(queue.keys.failed) >= some

            await eventually(progress, f"{some} jobs have failed")
            gateway = runtime.gateway
            send([gateway], signal.SIGKILL)
            await runtime.replaced("gateway 0", gateway)

        async def all_failed() -> bool:
            return own_raw.zcard(queue.keys.failed) == JOBS

        async def all_arrived() -> bool:
            return await all_failed() and not own_raw.exists(f"{queue.keys.base}:x-py:dead-letters")

        await eventually(all_arrived, "every letter has arrived", 60)
        ids = await stored_letters(queue)
        assert len(ids) == JOBS
        assert set(ids) == {member.decode() for member in own_raw.zrange(queue.keys.failed, 0, -1)}


async def test_poison_job_and_overrun_lead_there_from_actor_processes(site: Site, own_raw: Any) -> None:
    await site.start()
    async with AnyQueue("sync-orders", connection=site.server.url) as queue:
        await queue.add("poison", {"do": "die"})
        await queue.add("overrun", {"do": "loop"}, timeout=0.1)
        await queue.add("stubborn", {"do": "raise"}, attempts=9)

        async def arrived() -> bool:
            return len(await queue.get_dead_letter_jobs()) == 3

        await eventually(arrived, "three letters", 60)
        found = {letter.name: letter.data for letter in await queue.get_dead_letter_jobs()}
        assert found["poison"]["failedReason"] == "worker process killed by SIGKILL 3 times"
        assert found["overrun"]["failedReason"] == "Job timeout exceeded"
        assert found["stubborn"]["attemptsMade"] == 1  # max_retries=1: two runs
        classes = {kind.name for kind in (await queue.get_dead_letter_summary()).classes}
        assert classes == {"killed by SIGKILL", "timeout", "ValueError"}
