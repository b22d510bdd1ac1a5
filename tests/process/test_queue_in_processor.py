"""A queue made inside a processor uses the gateway's connection: no connection, and no client library, of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from glidemq import Queue
from tests.testkit.runtime import Runtime
from tests.testkit.server import ValkeyServer
from tests.testkit.waiting import eventually


@pytest.fixture
def runtime(own_server: ValkeyServer, tmp_path: Path) -> Iterator[Runtime]:
    made = Runtime(
        tmp_path / "runtime",
        "tests.process.producing_app:app",
        url=own_server.url,
        effects=tmp_path / "effects",
        arguments=["--procs", "1"],
    )
    yield made.start()
    made.clean_up()


@pytest.mark.parametrize("producer", ["sync-producer", "async-producer"])
async def test_a_processor_adds_jobs_over_the_ring(
    runtime: Runtime, own_server: ValkeyServer, producer: str
) -> None:
    await runtime.ready()
    async with (
        Queue[Any, Any](producer, connection=own_server.url) as source,
        Queue[Any, Any]("made", connection=own_server.url) as target,
    ):
        job = await source.add("go", {"queue": "made", "count": 700})
        assert job is not None
        await eventually(job.is_completed, what="the producing job's completion")
        await job.refresh()
        assert len(job.return_value) == 700
        assert (await target.get_job_counts())["waiting"] == 700
    raw = own_server.client()
    names = sorted(client["name"] for client in raw.client_list() if client["name"])
    assert names == ["glidemq-gateway", "glidemq-reader"]
    for pid in runtime.actors().values():
        assert "libglide" not in Path(f"/proc/{pid}/maps").read_text()


@pytest.mark.parametrize("reader", ["sync-reader", "async-reader"])
async def test_a_processor_reads_more_than_a_ring_holds(
    runtime: Runtime, own_server: ValkeyServer, reader: str
) -> None:
    async with (
        Queue[Any, Any](reader, connection=own_server.url) as source,
        Queue[Any, Any]("large", connection=own_server.url) as large,
    ):
        lengths = [900_000 + number for number in range(6)]
        await large.add_bulk([("a", "x" * length) for length in lengths])
        await runtime.ready()
        job = await source.add("go", {"queue": "large"})
        assert job is not None
        await eventually(job.is_completed, what="the reading job's completion", within_s=15)
        await job.refresh()
        assert sorted(job.return_value) == lengths
