"""stream_append: chunks of many jobs in one call, none twice, none of a run that lost its job, none for ever."""

from __future__ import annotations

from typing import Any

from glidemq.commands.command import unpack
from glidemq.commands.stream_append import GONE, LEASE_LOST, StreamAppendCommand
from glidemq.job.chunks import ChunkSource
from tests.lua.driven_queue import DrivenQueue

DAY_MS = 86_400_000


class Writer:
    """Makes calls as one lane does."""

    def __init__(self, driven: DrivenQueue, lane: str = "lane") -> None:
        self._driven = driven
        self._lane = lane
        self._calls = 0

    def append(self, *rows: bytes) -> list[Any]:
        self._calls += 1
        return self.repeat(*rows)

    def repeat(self, *rows: bytes) -> list[Any]:
        """As `append`, as the call that was made last."""
        command = StreamAppendCommand("k", lane=self._lane, call=self._calls, rows=rows)
        arguments = {name.decode(): value for name, value in unpack(command.arguments()).items()}
        return list(command.parse_reply(self._driven.call("stream_append", **arguments)))


def source(
    job_id: str, token: str = "", attempt: int = 1, *, limit: int | None = None, ttl_ms: int | None = None
) -> ChunkSource:
    return ChunkSource(job_id, token.encode(), attempt, limit, ttl_ms)


def chunks(driven: DrivenQueue, job_id: str) -> list[dict[str, str]]:
    entries = driven.client.xrange(driven.key(f"jstream:{job_id}"))
    return [{name.decode(): value.decode() for name, value in fields.items()} for _, fields in entries]


def ttl_ms(driven: DrivenQueue, job_id: str) -> int:
    return int(driven.client.pttl(driven.key(f"jstream:{job_id}")))


def test_chunks_of_several_jobs_are_appended_in_order_by_one_call(driven: DrivenQueue) -> None:
    driven.add()
    driven.add()
    first, second = driven.start(2)
    one, two = source("1", first.token), source("2", second.token)
    ids = Writer(driven).append(one.row({"t": "a"}), two.row({"t": "x", "u": ""}), one.row({"t": "b"}))
    assert chunks(driven, "1") == [{"t": "a"}, {"t": "b"}]
    assert chunks(driven, "2") == [{"t": "x", "u": ""}]
    entries = [entry_id for entry_id, _ in driven.client.xrange(driven.key("jstream:1"))]
    assert [ids[0], ids[2]] == entries
    assert ttl_ms(driven, "1") == -1


def test_repeated_call_appends_nothing_and_answers_as_before(driven: DrivenQueue) -> None:
    driven.add()
    writer, chunk = Writer(driven), source("1")
    rows = [chunk.row({"t": "a"}), chunk.row({"t": "b"})]
    assert writer.append(*rows) == writer.repeat(*rows) == writer.repeat(*rows)
    assert chunks(driven, "1") == [{"t": "a"}, {"t": "b"}]
    assert writer.append(chunk.row({"t": "c"}))
    assert len(chunks(driven, "1")) == 3


def test_call_that_arrives_after_its_successor_appends_nothing(driven: DrivenQueue) -> None:
    driven.add()
    row = source("1").row({"t": "late"})
    for call in (2, 1):
        reply = driven.call("stream_append", lane="l", call=call, rows=[unpack(row)])
        assert reply[0] == (b"ok" if call == 2 else b"stale")
    assert len(chunks(driven, "1")) == 1


def test_calls_of_different_lanes_do_not_touch_each_other(driven: DrivenQueue) -> None:
    driven.add()
    chunk = source("1")
    Writer(driven, "a").append(chunk.row({"t": "a"}))
    Writer(driven, "b").append(chunk.row({"t": "b"}))
    assert chunks(driven, "1") == [{"t": "a"}, {"t": "b"}]
    assert 0 < driven.client.pttl(driven.key("x-py:lane:a")) <= 60_000


def test_run_that_lost_its_job_is_refused_and_its_neighbours_are_not(driven: DrivenQueue) -> None:
    driven.add()
    driven.add()
    first = driven.start_one()
    driven.fail(first, max_attempts=2)
    started = {job.id: job for job in driven.start(2)}
    stale, fresh, other = (
        source("1", first.token),
        source("1", started["1"].token, 2),
        source("2", started["2"].token),
    )
    ids = Writer(driven).append(stale.row({"t": "old"}), fresh.row({"t": "new"}), other.row({"t": "x"}))
    assert ids[0] == LEASE_LOST
    assert chunks(driven, "1") == [{"t": "new", "x-py:attempt": "2"}]
    assert chunks(driven, "2") == [{"t": "x"}]


def test_job_that_is_gone_gets_no_stream(driven: DrivenQueue) -> None:
    driven.client.hset(driven.key("job:stub"), "lastActive", "1")
    assert Writer(driven).append(source("none").row({"t": "x"}), source("stub").row({"t": "x"})) == [
        GONE,
        GONE,
    ]
    assert driven.suffixes() == ["job:stub", "x-py:lane:lane"]


def test_stream_is_kept_for_a_day_after_the_jobs_end(driven: DrivenQueue) -> None:
    for how in (driven.complete, driven.fail):
        job_id = driven.add()
        job = driven.start_one()
        Writer(driven, job_id).append(source(job_id, job.token).row({"t": "x"}))
        assert ttl_ms(driven, job_id) == -1
        how(job)
        assert DAY_MS - 5000 < ttl_ms(driven, job_id) <= DAY_MS


def test_stream_of_a_revoked_or_expired_job_goes_as_well(driven: DrivenQueue) -> None:
    revoked, expired = driven.add(), driven.add(ttl=1000)
    writer = Writer(driven)
    writer.append(source(revoked).row({"t": "x"}), source(expired).row({"t": "x"}))
    driven.call("revoke", id=revoked)
    driven.pass_time(2000)
    driven.step(1)
    assert [driven.state(job_id) for job_id in (revoked, expired)] == ["failed", "failed"]
    assert all(ttl_ms(driven, job_id) > 0 for job_id in (revoked, expired))


def test_time_that_a_stream_is_kept_can_be_set(driven: DrivenQueue) -> None:
    driven.add()
    job = driven.start_one()
    Writer(driven).append(source("1", job.token, ttl_ms=60_000).row({"t": "x"}))
    driven.complete(job)
    assert 55_000 < ttl_ms(driven, "1") <= 60_000


def test_chunk_after_the_jobs_end_does_not_keep_the_stream_for_ever(driven: DrivenQueue) -> None:
    driven.add()
    job = driven.start_one()
    driven.complete(job)
    Writer(driven).append(source("1", job.token).row({"t": "late"}))
    assert chunks(driven, "1") == [{"t": "late"}]
    assert 0 < ttl_ms(driven, "1") <= DAY_MS


def test_job_that_is_tried_again_by_hand_keeps_its_stream(driven: DrivenQueue) -> None:
    driven.add()
    job = driven.start_one()
    writer = Writer(driven)
    writer.append(source("1", job.token).row({"t": "a"}))
    driven.fail(job)
    driven.call("retry_job", id="1")
    driven.pass_time(1)
    again = driven.start_one()
    assert ttl_ms(driven, "1") > 0
    writer.append(source("1", again.token).row({"t": "b"}))
    assert ttl_ms(driven, "1") == -1


def test_oldest_chunks_go_beyond_the_limit(driven: DrivenQueue) -> None:
    driven.add()
    job = driven.start_one()
    writer, chunk = Writer(driven), source("1", job.token, limit=10)
    for number in range(25):
        writer.append(chunk.row({"t": str(number)}))
    assert [fields["t"] for fields in chunks(driven, "1")] == [str(number) for number in range(15, 25)]


def test_large_stream_is_trimmed_in_steps_that_stay_near_its_limit(driven: DrivenQueue) -> None:
    driven.add()
    job = driven.start_one()
    writer, chunk = Writer(driven), source("1", job.token, limit=1000)
    lengths: list[int] = []
    for _ in range(30):
        writer.append(*(chunk.row({"t": "x"}) for _ in range(100)))
        lengths.append(len(chunks(driven, "1")))
    assert max(lengths) <= 1000 + 10 + 50
    assert lengths[-1] >= 1000


def test_malformed_rows_are_refused_before_anything_is_written(driven: DrivenQueue) -> None:
    driven.add()
    good: list[Any] = ["1", False, 1, False, False, "t", "x"]
    for bad in ("text", [], [1, False, 1, False, False, "t", "x"], ["1", False, 1, False, False, "t"]):
        reply = driven.call("stream_append", lane="l", call=1, rows=[good, bad])
        assert reply[0] == b"bad_argument"
    assert chunks(driven, "1") == []
