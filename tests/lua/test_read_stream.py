"""read_stream: pages behind a position, the job's state, and what is gone."""

from __future__ import annotations

from glidemq.commands.read_stream import BEGINNING, ReadStreamCommand, StreamPage
from tests.lua.driven_queue import DrivenQueue
from tests.lua.test_stream_append import Writer, source


def read(driven: DrivenQueue, job_id: str = "1", last_id: str = BEGINNING, count: int = 100) -> StreamPage:
    command = ReadStreamCommand("k", job_id=job_id, last_id=last_id, count=count)
    return command.parse_reply(driven.call("read_stream", id=job_id, last_id=last_id, count=count))


def texts(page: StreamPage) -> list[str]:
    return [chunk.flat[1].decode() for chunk in page.chunks]


def test_reading_on_behind_the_last_chunk_gives_each_one_once(driven: DrivenQueue) -> None:
    driven.add()
    chunk = source("1")
    ids = Writer(driven).append(*((chunk, {"t": str(number)}) for number in range(50)))
    seen: list[str] = []
    last_id, more = BEGINNING, True
    while more:
        page = read(driven, last_id=last_id, count=7)
        seen += texts(page)
        last_id, more = page.chunks[-1].id, page.more
    assert seen == [str(number) for number in range(50)]
    assert last_id == ids[-1]
    assert read(driven, last_id=last_id) == StreamPage([], "waiting", more=False, gone=None)


def test_page_of_large_chunks_is_cut_and_says_so(driven: DrivenQueue) -> None:
    driven.add()
    chunk, writer = source("1"), Writer(driven)
    for _ in range(60):
        writer.append((chunk, {"t": "x" * 100_000}))
    page = read(driven)
    assert 10 < len(page.chunks) < 60
    assert page.more
    assert not read(driven, last_id=page.chunks[-1].id).more or page.more


def test_job_without_a_stream_and_no_job_at_all(driven: DrivenQueue) -> None:
    driven.add()
    assert read(driven) == StreamPage([], "waiting", more=False, gone=None)
    assert read(driven, "none") == StreamPage([], None, more=False, gone=None)
    driven.client.set(driven.key("job:text"), "x")
    assert read(driven, "text") == StreamPage([], None, more=False, gone=None)


def test_stream_that_node_has_written_is_read_too(driven: DrivenQueue) -> None:
    driven.add()
    driven.client.xadd(driven.key("jstream:1"), {"token": "he"})
    assert texts(read(driven)) == ["he"]


def test_trimmed_chunks_are_missed_by_those_who_have_not_read_them_and_by_nobody_else(
    driven: DrivenQueue,
) -> None:
    driven.add()
    chunk, writer = source("1", limit=10), Writer(driven)
    ids = [writer.append((chunk, {"t": str(number)}))[0] for number in range(25)]
    for position in (BEGINNING, ids[0], ids[13]):
        page = read(driven, last_id=position)
        assert (page.gone, page.chunks) == (ids[14], [])
    for position in (ids[14], ids[15], ids[24]):
        page = read(driven, last_id=position)
        assert page.gone is None
        assert len(page.chunks) == 24 - ids.index(position)


def test_expired_stream_is_missed_by_those_who_have_not_read_it_to_its_end(driven: DrivenQueue) -> None:
    driven.add()
    job = driven.start_one()
    chunk = source("1", job.token)
    ids = Writer(driven).append((chunk, {"t": "a"}), (chunk, {"t": "b"}))
    driven.complete(job)
    driven.client.delete(driven.key("jstream:1"))
    assert read(driven).gone == ids[1]
    assert read(driven, last_id=ids[0]).gone == ids[1]
    assert read(driven, last_id=ids[1]) == StreamPage([], "completed", more=False, gone=None)


def test_position_that_is_none_is_refused(driven: DrivenQueue) -> None:
    for position in ("", "$", "1", "1-", "a-b", "1-1 "):
        assert driven.call("read_stream", id="1", last_id=position, count=1)[0] == b"bad_argument"
