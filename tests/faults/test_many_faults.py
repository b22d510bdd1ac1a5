"""Faults of all kinds, one upon the other, in a random order that a seed fixes: the invariants hold all the same."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Awaitable, Callable

import pytest

from tests.faults.conftest import APP_OF, Launch, Look, Produce
from tests.testkit.checker import QueueOnServer, check
from tests.testkit.effects import History
from tests.testkit.process_tree import is_gone, send
from tests.testkit.runtime import Runtime
from tests.testkit.server import ValkeyServer
from tests.testkit.waiting import eventually

ROUNDS = 12


class Nemesis:
    """Chooses a fault, and when. Owns: the choices, from a seed. Read by: nobody; its deeds are printed."""

    def __init__(self, seed: int, runtime: Runtime, server: ValkeyServer, queue: QueueOnServer) -> None:
        self.choices = random.Random(seed)
        self.deeds: list[str] = []
        self._runtime = runtime
        self._server = server
        self._queue = queue
        self._faults: list[Callable[[], Awaitable[None]]] = [
            self.kill_gateway, self.kill_gateway, self.kill_actor, self.kill_actor, self.reload, self.stop_actor,
            self.stop_gateway, self.freeze_server, self.flush_functions, self.break_connections,
        ]  # fmt: skip

    async def strike(self) -> None:
        fault = self.choices.choice(self._faults)
        self.deeds.append(fault.__name__)
        print(f"[nemesis] {fault.__name__}")
        await fault()
        # Most faults meet the recovery from the one before.
        await asyncio.sleep(self.choices.uniform(0.0, 0.7))

    def _any_actor(self) -> int:
        return self.choices.choice(sorted(self._runtime.actors().values()))

    async def kill_gateway(self) -> None:
        send([self._runtime.gateway], signal.SIGKILL)

    async def kill_actor(self) -> None:
        send([self._any_actor()], self.choices.choice([signal.SIGKILL, signal.SIGSEGV]))

    async def reload(self) -> None:
        self._runtime.signal(signal.SIGHUP)

    async def stop_actor(self) -> None:
        await self._pause_process(self._any_actor())

    async def stop_gateway(self) -> None:
        await self._pause_process(self._runtime.gateway)

    async def _pause_process(self, pid: int) -> None:
        send([pid], signal.SIGSTOP)
        await asyncio.sleep(self.choices.uniform(0.05, 0.5))
        if not is_gone(pid):
            send([pid], signal.SIGCONT)

    async def freeze_server(self) -> None:
        self._server.signal(signal.SIGSTOP)
        await asyncio.sleep(self.choices.uniform(0.05, 0.8))
        self._server.signal(signal.SIGCONT)

    async def flush_functions(self) -> None:
        self._queue.client.execute_command("FUNCTION FLUSH")

    async def break_connections(self) -> None:
        for client in self._queue.client.client_list():
            if client["name"] in ("glidemq-gateway", "glidemq-reader"):
                self._queue.client.execute_command("CLIENT KILL ID", client["id"])


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_every_acknowledged_job_ends_once_whatever_happens_to_the_host(
    launch: Launch,
    produce: Produce,
    look: Look,
    history: History,
    own_server: ValkeyServer,
    kind: str,
    seed: int,
) -> None:
    runtime = await launch(
        APP_OF[kind], "--procs", "2", max_crashes=1000, restart_intensity=1000, restart_backoff_max=0.05
    ).ready()
    producer, queue = produce(kind), look(kind)
    nemesis = Nemesis(seed, runtime, own_server, queue)
    await producer.add_many(400, ["sleep", 0.004])
    await producer.add_many(60, ["sleep", 0.004], priority=2)
    await producer.add_many(60, ["sleep", 0.004], lifo=True)
    await producer.add_many(60, ["sleep", 0.004], delay=1)
    failing = await producer.add_many(60, ["fail_once", "once"], attempts=2)
    producer.begin_load(["sleep", 0.004], per_second=60)
    for _ in range(ROUNDS):
        await nemesis.strike()
    acked = await producer.end_load()
    await eventually(lambda: queue.ended() >= len(acked), f"all jobs end after {nemesis.deeds}", within_s=60)
    await eventually(lambda: not queue.unfinished(), f"nothing is left after {nemesis.deeds}")
    cut_short = {run.id for run in history.running()}
    charged = dict.fromkeys(failing, 1)
    check(queue, history, acked, rerun=cut_short, attempts_made=charged, doubtful=producer.doubtful)
    assert runtime.stop() == 0
    assert runtime.tree() == []
