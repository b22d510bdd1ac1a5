"""How many connections a host costs the server."""

from __future__ import annotations

import signal

import pytest

from tests.faults.conftest import ASYNC_APP, SYNC_APP, Launch, Look, Produce
from tests.testkit.effects import History
from tests.testkit.waiting import eventually


def names_of_clients(look: Look) -> list[str]:
    """The clients of the runtime, by the names that they give themselves."""
    names = [client["name"] for client in look("any").client.client_list()]
    return sorted(name for name in names if name in ("glidemq-gateway", "glidemq-reader"))


@pytest.mark.parametrize(("app", "procs"), [(SYNC_APP, 1), (SYNC_APP, 5), (ASYNC_APP, 3)])
async def test_cell_has_two_connections_whatever_its_actors_do(
    launch: Launch, produce: Produce, look: Look, history: History, app: str, procs: int
) -> None:
    kind = "sync" if app == SYNC_APP else "async"
    runtime = await launch(app, "--procs", str(procs)).ready()
    producer, queue = produce(kind), look(kind)
    two = ["glidemq-gateway", "glidemq-reader"]
    await eventually(lambda: names_of_clients(look) == two, "both connections stand")
    talkative = await producer.add_many(procs, ["log_until", "enough"])
    await eventually(
        lambda: all(queue.log_length(job) > 3 for job in talkative), "every actor talks to the server"
    )
    assert names_of_clients(look) == two
    runtime.signal(signal.SIGTTIN)
    await runtime.logged(f"actor 0.{procs} started")
    history.open_gate("enough")
    await eventually(lambda: queue.ended() == procs, "all jobs complete")
    assert names_of_clients(look) == two
    assert runtime.stop() == 0
    assert names_of_clients(look) == []


async def test_cell_per_core_has_two_connections_for_each_actor(
    launch: Launch, produce: Produce, look: Look, history: History
) -> None:
    runtime = await launch(SYNC_APP, "--procs", "3", "--cells", "per-core").ready()
    producer, queue = produce("sync"), look("sync")
    expected = ["glidemq-gateway"] * 3 + ["glidemq-reader"] * 3
    await eventually(lambda: names_of_clients(look) == expected, "two connections for each actor")
    await producer.add_many(3, ["wait", "end"])
    await eventually(lambda: len({run.pid for run in history.running()}) == 3, "every cell works")
    history.open_gate("end")
    await producer.add_many(100)
    await eventually(lambda: queue.ended() == 103, "all jobs complete")
    assert names_of_clients(look) == expected
    assert runtime.stop() == 0
