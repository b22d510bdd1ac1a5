"""Compressed job data: how it is stored, that workers read both kinds, and that no stored text can do harm."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

import pytest
import valkey
import zstandard

from glidemq import FlowProducer, Job, Queue, SerializationError, SyncJob, ValidationError, Worker, chain
from glidemq.payload import MAX_PAYLOAD_BYTES, PLAIN_PAYLOAD, Payload
from glidemq.payload.compression import check_compression, inflate
from tests.client.conftest import hash_of
from tests.interop.snapshot import load_case
from tests.testkit.server import ValkeyServer

REPORT = {"report": "fifteen kilobytes of report " * 600}
BOMB = b"0" * (MAX_PAYLOAD_BYTES + 1)


def deflated(name: str, text: bytes) -> bytes:
    kind = check_compression(name)
    assert kind is not None
    return kind.deflate(text)


def stored_as(marker: bytes, packed: bytes) -> bytes:
    return marker + base64.b64encode(packed)


@pytest.mark.parametrize(("compression", "marker"), [("gzip", "gz:"), ("zstd", "zs:")])
async def test_data_is_stored_compressed_and_read_by_queues_and_workers_without_the_setting(
    server: ValkeyServer, raw: valkey.Valkey, queue_name: str, compression: Any, marker: str
) -> None:
    seen: list[Any] = []

    def process(job: SyncJob[Any, Any]) -> int:
        seen.append(job.data)
        job.update_data("rewritten")
        return len(job.data)

    async with (
        Queue[Any, Any](queue_name, connection=server.url, compression=compression) as queue,
        Queue[Any, Any](queue_name, connection=server.url) as reader,
    ):
        one = await queue.add("n", REPORT)
        [two] = await queue.add_bulk([("n", {"small": 1})])
        assert one is not None
        assert one.data == REPORT
        for job in (one, two):
            text = hash_of(raw, queue, job.id)["data"]
            assert text.startswith(marker)
            assert len(text) < 500
        async with Worker[Any, Any](queue_name, process, connection=server.url):
            assert await two.wait_until_finished(poll=0.01) == "completed"
        assert seen == [REPORT, {"small": 1}]
        # Only new jobs are compressed, as in Node: what is written later is not.
        assert hash_of(raw, queue, one.id)["data"] == '"rewritten"'
        found = await reader.get_job(one.id)
        assert found is not None
        assert found.data == "rewritten"


@pytest.mark.parametrize(("compression", "marker"), [("gzip", "gz:"), ("zstd", "zs:"), ("none", '{"re')])
async def test_the_jobs_of_a_flow_are_stored_compressed_children_included(
    server: ValkeyServer, raw: valkey.Valkey, queue_name: str, compression: Any, marker: str
) -> None:
    seen: list[Any] = []
    child = {"name": "child", "queue_name": queue_name, "data": REPORT}
    async with (
        FlowProducer(connection=server.url, compression=compression) as flows,
        Queue[Any, Any](queue_name, connection=server.url) as queue,
    ):
        root = await flows.add(
            {"name": "root", "queue_name": queue_name, "data": REPORT, "children": [child, child]}  # type: ignore[list-item]
        )
        graph = await flows.add_dag(
            [
                {"name": "first", "queue_name": queue_name, "data": REPORT},
                {"name": "then", "queue_name": queue_name, "data": REPORT, "deps": ["first"]},
            ]
        )
        link = {"name": "link", "data": REPORT}
        last = await chain(queue_name, [link, link], connection=server.url, compression=compression)  # type: ignore[list-item]
        jobs = [
            *(node.job for node in (root, *root.children, last, *last.children)),
            *graph.values(),
        ]
        assert len(jobs) == 7
        for job in jobs:
            assert job.data == REPORT
            text = hash_of(raw, queue, job.id)["data"]
            assert text.startswith(marker)
            assert (len(text) < 500) is (compression != "none")
        async with Worker[Any, Any](queue_name, lambda job: seen.append(job.data), connection=server.url):
            for job in (root.job, last.job, graph["then"]):
                found = await queue.get_job(job.id)
                assert found is not None
                assert await found.wait_until_finished(poll=0.01) == "completed"
    assert seen == [REPORT] * 7


def test_unknown_compression_of_a_flow_producer_is_refused() -> None:
    with pytest.raises(ValidationError, match='compression must be "none", "gzip" or "zstd"'):
        FlowProducer(connection="valkey://localhost", compression="lz4")  # type: ignore[arg-type]


def test_gzip_data_of_node_is_read_and_ours_is_what_node_inflates() -> None:
    [fields] = [
        dump.fields for key, dump in load_case("gzip").snapshots["after_add"].items() if ":job:" in key
    ]
    by_node = fields["data"].encode()
    text = inflate(by_node)
    assert json.loads(text) == PLAIN_PAYLOAD.load_data(by_node)
    ours = deflated("gzip", text)
    assert ours.startswith(b"gz:")
    assert gzip.decompress(base64.b64decode(ours[3:], validate=True)) == text


def test_equal_data_is_stored_equally() -> None:
    assert deflated("gzip", b"x" * 100) == deflated("gzip", b"x" * 100)


async def test_the_limit_of_a_mebibyte_counts_before_compression(
    server: ValkeyServer, queue_name: str
) -> None:
    async with Queue[Any, Any](queue_name, connection=server.url, compression="gzip") as queue:
        with pytest.raises(
            ValidationError, match=r"^Job data exceeds maximum size \(1048577 bytes > 1048576"
        ):
            await queue.add("n", "x" * (MAX_PAYLOAD_BYTES - 1))
        assert await queue.add("n", "x" * (MAX_PAYLOAD_BYTES - 2)) is not None


@pytest.mark.parametrize("name", ["gzip", "zstd"])
def test_exactly_a_mebibyte_passes_through(name: str) -> None:
    text = BOMB[1:]
    assert inflate(deflated(name, text)) == text
    assert inflate(deflated(name, b"")) == b""


UNREADABLE = {
    "gzip bomb": stored_as(b"gz:", gzip.compress(BOMB)),
    "zstd bomb": stored_as(b"zs:", zstandard.ZstdCompressor().compress(BOMB)),
    "zstd of unstated size": stored_as(
        b"zs:", zstandard.ZstdCompressor(write_content_size=False).compress(BOMB)
    ),
    "truncated gzip": stored_as(b"gz:", gzip.compress(b"x" * 1000)[:-9]),
    "truncated zstd": stored_as(b"zs:", zstandard.ZstdCompressor().compress(b"x" * 1000)[:-3]),
    "gzip named zstd": stored_as(b"zs:", gzip.compress(b"x")),
    "two zstd frames": stored_as(b"zs:", zstandard.ZstdCompressor().compress(b"{}") * 2),
    "no base64": b"zs:\xff",
    "nothing": b"zs:",
}


@pytest.mark.parametrize("stored", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_unreadable_data_is_an_error_of_one_kind(stored: bytes) -> None:
    with pytest.raises(ValueError, match=r"damaged compressed data|more than 1048576 bytes|truncated"):
        PLAIN_PAYLOAD.load_data(stored)


async def test_a_bomb_fails_no_worker_but_marks_its_job(
    server: ValkeyServer, raw: Any, queue_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def process(job: Job[Any, Any]) -> Any:
        return [job.data, job.deserialization_failed]

    async with Queue[Any, Any](queue_name, connection=server.url) as queue:
        job = await queue.add("n", 1)
        assert job is not None
        raw.hset(queue.keys.job(job.id), "data", UNREADABLE["zstd bomb"].decode())
        async with Worker[Any, Any](queue_name, process, connection=server.url):
            await job.wait_until_finished(poll=0.01)
        assert job.return_value == [{}, True]
    assert "its data cannot be deserialized (compressed data inflates to more than" in caplog.text


@pytest.mark.parametrize("name", ["GZIP", "lz4", "", 1])
def test_unknown_compression_is_refused(name: Any) -> None:
    with pytest.raises(ValidationError, match='compression must be "none", "gzip" or "zstd"'):
        Queue("q", connection="valkey://localhost", compression=name)


@pytest.mark.parametrize("marker", ["gz:", "zs:"])
def test_serializer_may_not_forge_a_marker(marker: str) -> None:
    class Forger:
        def serialize(self, value: Any, /) -> str:
            return marker + "x"

        def deserialize(self, text: str, /) -> Any:
            return text

    with pytest.raises(SerializationError, match=f'starts with "{marker}", which marks compressed data'):
        Payload(Forger()).dump_data(1)


def test_none_stores_plain_text() -> None:
    assert check_compression("none") is None
    assert check_compression(None) is None
