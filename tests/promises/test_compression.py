"""Compressed data: packed by producers, unpacked by actor processes that were told nothing of it."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Callable
from typing import Any

import pytest

from glidemq import Producer, Queue, ValidationError
from tests.testkit.runtime import Runtime
from tests.testkit.server import ValkeyServer

APP = "tests.promises.basics_app:app"
REPORT = {"report": "fifteen kilobytes of data, again and again " * 350}

AnyQueue = Queue[Any, Any]


async def test_actor_processes_unpack_what_producers_have_packed(
    launch: Callable[..., Runtime], own_server: ValkeyServer
) -> None:
    await launch(APP, "--procs", "2").ready()
    raw = own_server.client()
    markers: list[tuple[Any, bytes]] = [
        ("gzip", b"gz:"),
        ("zstd", b"zs:"),
        (None, b'{"re'),
        ("none", b'{"re'),
    ]
    for name in ("sync-answers", "async-answers"):
        for compression, marker in markers:
            async with AnyQueue(name, connection=own_server.url, compression=compression) as queue:
                job = await queue.add("large", REPORT)
                assert job is not None
                assert await job.wait_until_finished(poll=0.02) == "completed"
                assert job.return_value == {"answer": REPORT}
                stored: Any = raw.hget(queue.keys.job(job.id), "data")
                assert stored.startswith(marker)
                assert (len(stored) < 500) is marker.endswith(b":")


async def test_data_that_inflates_without_end_fails_no_process(
    launch: Callable[..., Runtime], own_server: ValkeyServer
) -> None:
    runtime = await launch(APP, "--procs", "1").ready()
    actors = runtime.actors()
    raw: Any = own_server.client()
    for name in ("sync-answers", "async-answers"):
        async with AnyQueue(name, connection=own_server.url) as queue:
            await queue.pause()
            job = await queue.add("bomb", None)
            assert job is not None
            bomb = b"gz:" + base64.b64encode(gzip.compress(bytes(200 << 20), compresslevel=1))
            raw.hset(queue.keys.job(job.id), "data", bomb)
            await queue.resume()
            assert await job.wait_until_finished(poll=0.02) == "completed"
            # As with every text that cannot be read: {} and a flag for the processor, a line in the log.
            assert job.return_value == {"answer": {}}
    await runtime.logged("its data cannot be deserialized")
    assert runtime.actors() == actors, "nobody died of it"


@pytest.mark.parametrize("kind", [Queue, Producer])
async def test_the_limit_counts_before_packing(kind: Any) -> None:
    async with kind("q", connection="valkey://127.0.0.1:1", compression="gzip") as unreachable:
        with pytest.raises(
            ValidationError,
            match=r"^Job data exceeds maximum size \(1234567 bytes > 1048576 bytes\)\. "
            r"Use smaller payloads or store large data externally\.$",
        ):
            await unreachable.add("n", "x" * 1_234_565)


@pytest.mark.parametrize("compression", ["zip", "GZIP", True, 9])
def test_only_named_methods_are_accepted(compression: Any) -> None:
    for kind in (Queue, Producer):
        with pytest.raises(ValidationError, match=r'^compression must be "none", "gzip" or "zstd"'):
            kind("q", connection="valkey://127.0.0.1:1", compression=compression)
