"""stream_append: chunks of many jobs in one call, none twice, none of a run that lost its job, none for ever."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from glidemq.commands.command import unpack
from glidemq.commands.stream_append import GONE, LEASE_LOST, Appended, StreamAppendCommand
from glidemq.job.chunks import ChunkBatch, ChunkSource
from tests.lua.driven_queue import DrivenQueue, Started

DAY_MS = 86_400_000


Chunk = tuple[ChunkSource, Mapping[str, str]]


class Writer:
    """Makes calls as one lane does."""

    def __init__(self, driven: DrivenQueue, lane: str = "lane") -> None:
        self._driven = driven
        self._lane = lane
        self._calls = 0
        self.era = 0
        self._batch = ChunkBatch(0)

    def append(self, *chunks: Chunk) -> list[str]:
        self._batch = ChunkBatch(self.era)
        for chunk_source, fields in chunks:
            chunk_source.write(fields, self._batch)
        self._calls += 1
        entry_ids, self.era = self._call()
        self._batch.appended_in(self.era)
        return list(entry_ids)

    def repeat(self) -> list[str]:
        """The call that was made last, once more."""
        return list(self._call().entry_ids)

    @property
    def looks(self) -> int:
        """How many chunks of the last call asked for a look."""
        return len(self._batch.looks)

    def _call(self) -> Appended:
        batch = self._batch
        command = StreamAppendCommand(
            "k", lane=self._lane, call=self._calls, era=batch.era or 0, chunks=batch.elements
        )
        arguments = {name.decode(): value for name, value in unpack(command.arguments()).items()}
        return command.parse_reply(self._driven.call("stream_append", **arguments))


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
    ids = Writer(driven).append((one, {"t": "a"}), (two, {"t": "x", "u": ""}), (one, {"t": "b"}))
    assert chunks(driven, "1") == [{"t": "a"}, {"t": "b"}]
    assert chunks(driven, "2") == [{"t": "x", "u": ""}]
    entries = [entry_id for entry_id, _ in driven.client.xrange(driven.key("jstream:1"))]
    assert [ids[0], ids[2]] == [entry_id.decode() for entry_id in entries]
    assert ttl_ms(driven, "1") == -1


def test_repeated_call_appends_nothing_and_answers_as_before(driven: DrivenQueue) -> None:
    driven.add()
    writer, chunk = Writer(driven), source("1")
    assert writer.append((chunk, {"t": "a"}), (chunk, {"t": "b"})) == writer.repeat() == writer.repeat()
    assert chunks(driven, "1") == [{"t": "a"}, {"t": "b"}]
    assert writer.append((chunk, {"t": "c"}))
    assert len(chunks(driven, "1")) == 3


def test_call_that_arrives_after_its_successor_appends_nothing(driven: DrivenQueue) -> None:
    driven.add()
    chunk = ["1", False, [2, 1, False, False], "t", "late"]
    for call in (2, 1):
        reply = driven.call("stream_append", lane="l", call=call, era=0, chunks=chunk)
        assert reply[0] == (b"ok" if call == 2 else b"stale")
    assert len(chunks(driven, "1")) == 1


def test_calls_of_different_lanes_do_not_touch_each_other(driven: DrivenQueue) -> None:
    driven.add()
    chunk = source("1")
    Writer(driven, "a").append((chunk, {"t": "a"}))
    Writer(driven, "b").append((chunk, {"t": "b"}))
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
    ids = Writer(driven).append((stale, {"t": "old"}), (fresh, {"t": "new"}), (other, {"t": "x"}))
    assert ids[0] == LEASE_LOST
    assert chunks(driven, "1") == [{"t": "new", "x-py:attempt": "2"}]
    assert chunks(driven, "2") == [{"t": "x"}]


def test_job_that_is_gone_gets_no_stream(driven: DrivenQueue) -> None:
    driven.client.hset(driven.key("job:stub"), "lastActive", "1")
    assert Writer(driven).append((source("none"), {"t": "x"}), (source("stub"), {"t": "x"})) == [
        GONE,
        GONE,
    ]
    assert driven.suffixes() == ["job:stub", "x-py:lane:lane"]


def test_stream_is_kept_for_a_day_after_the_jobs_end(driven: DrivenQueue) -> None:
    for how in (driven.complete, driven.fail):
        job_id = driven.add()
        job = driven.start_one()
        Writer(driven, job_id).append((source(job_id, job.token), {"t": "x"}))
        assert ttl_ms(driven, job_id) == -1
        how(job)
        assert DAY_MS - 5000 < ttl_ms(driven, job_id) <= DAY_MS


def test_stream_of_a_revoked_or_expired_job_goes_as_well(driven: DrivenQueue) -> None:
    revoked, expired = driven.add(), driven.add(ttl=1000)
    writer = Writer(driven)
    writer.append((source(revoked), {"t": "x"}), (source(expired), {"t": "x"}))
    driven.call("revoke", id=revoked)
    driven.pass_time(2000)
    driven.step(1)
    assert [driven.state(job_id) for job_id in (revoked, expired)] == ["failed", "failed"]
    assert all(ttl_ms(driven, job_id) > 0 for job_id in (revoked, expired))


def test_time_that_a_stream_is_kept_can_be_set(driven: DrivenQueue) -> None:
    driven.add()
    job = driven.start_one()
    Writer(driven).append((source("1", job.token, ttl_ms=60_000), {"t": "x"}))
    driven.complete(job)
    assert 55_000 < ttl_ms(driven, "1") <= 60_000


def test_chunk_after_the_jobs_end_does_not_keep_the_stream_for_ever(driven: DrivenQueue) -> None:
    driven.add()
    job = driven.start_one()
    driven.complete(job)
    Writer(driven).append((source("1", job.token), {"t": "late"}))
    assert chunks(driven, "1") == [{"t": "late"}]
    assert 0 < ttl_ms(driven, "1") <= DAY_MS


def test_job_that_is_tried_again_by_hand_keeps_its_stream(driven: DrivenQueue) -> None:
    driven.add()
    job = driven.start_one()
    writer = Writer(driven)
    writer.append((source("1", job.token), {"t": "a"}))
    driven.fail(job)
    driven.call("retry_job", id="1")
    driven.pass_time(1)
    again = driven.start_one()
    assert ttl_ms(driven, "1") > 0
    writer.append((source("1", again.token), {"t": "b"}))
    assert ttl_ms(driven, "1") == -1


def test_oldest_chunks_go_beyond_the_limit(driven: DrivenQueue) -> None:
    driven.add()
    job = driven.start_one()
    writer, chunk = Writer(driven), source("1", job.token, limit=10)
    for number in range(25):
        writer.append((chunk, {"t": str(number)}))
    assert [fields["t"] for fields in chunks(driven, "1")] == [str(number) for number in range(15, 25)]


def test_large_stream_is_trimmed_in_steps_that_stay_near_its_limit(driven: DrivenQueue) -> None:
    driven.add()
    job = driven.start_one()
    writer, chunk = Writer(driven), source("1", job.token, limit=1000)
    lengths: list[int] = []
    for _ in range(30):
        writer.append(*((chunk, {"t": "x"}) for _ in range(100)))
        lengths.append(len(chunks(driven, "1")))
    assert max(lengths) <= 1000 + 10 + 50
    assert lengths[-1] >= 1000


def test_malformed_chunks_are_refused_before_anything_is_written(driven: DrivenQueue) -> None:
    driven.add()
    good: list[Any] = ["1", False, [2, 1, False, False], "t", "x"]
    faulty: list[list[Any]] = [
        ["text"],
        [1, False, 2, "t", "x"],
        ["", False, 2, "t", "x"],
        ["1", False, "2", "t", "x"],
        ["1", False, 0],
        ["1", False, [], "t", "x"],
        ["1", False, 4, "t", "x"],
        ["1", False, 2, "t"],
    ]
    for bad in faulty:
        reply = driven.call("stream_append", lane="l", call=1, era=0, chunks=good + bad)
        assert reply[0] == b"bad_argument"
    assert chunks(driven, "1") == []


# -- without a look at the job ------------------------------------------------------------------------------


def started_stream(driven: DrivenQueue, writer: Writer) -> tuple[Started, ChunkSource]:
    """A job in hand that has streamed a chunk."""
    driven.add()
    job = driven.start_one()
    chunk = source(job.id, job.token)
    writer.append((chunk, {"t": "first"}))
    return job, chunk


def test_run_that_was_seen_to_hold_its_job_is_not_looked_at_again(driven: DrivenQueue) -> None:
    writer = Writer(driven)
    job, chunk = started_stream(driven, writer)
    before, reads = writer.era, driven.client.info("commandstats")["cmdstat_hget"]["calls"]
    assert writer.append((chunk, {"t": "b"}), (chunk, {"t": "c", "u": "é"}))
    assert (writer.looks, writer.era) == (0, before)
    assert driven.client.info("commandstats")["cmdstat_hget"]["calls"] == reads
    assert chunks(driven, job.id)[1:] == [{"t": "b"}, {"t": "c", "u": "é"}]


def test_run_is_looked_at_when_a_job_that_streams_has_changed_its_state(driven: DrivenQueue) -> None:
    writer = Writer(driven)
    other, _ = started_stream(driven, writer)
    _, chunk = started_stream(driven, writer)
    before = writer.era
    driven.complete(other)
    writer.append((chunk, {"t": "b"}))
    assert (writer.looks, writer.era > before) == (0, True)  # the server looked, as it knew better
    writer.append((chunk, {"t": "c"}))
    assert writer.looks == 1
    writer.append((chunk, {"t": "d"}))
    assert writer.looks == 0


def test_jobs_that_do_not_stream_change_as_they_like(driven: DrivenQueue) -> None:
    writer = Writer(driven)
    _, chunk = started_stream(driven, writer)
    before = writer.era
    driven.add()
    driven.complete(driven.start_one())
    writer.append((chunk, {"t": "b"}))
    assert writer.era == before


def test_run_that_was_seen_and_lost_its_job_is_refused(driven: DrivenQueue) -> None:
    writer = Writer(driven)
    job, chunk = started_stream(driven, writer)
    driven.pass_time(60_000)
    _, other = started_stream(driven, writer)
    assert driven.recover_stalled() == {job.id: "stalled"}
    refused, appended = writer.append((chunk, {"t": "zombie"}), (other, {"t": "b"}))
    assert (refused, len(appended) > 1) == (LEASE_LOST, True)
    assert writer.append((chunk, {"t": "zombie"})) == [LEASE_LOST]
    assert chunks(driven, job.id) == [{"t": "first"}]


def test_seen_run_whose_job_is_removed_makes_no_new_stream(driven: DrivenQueue) -> None:
    writer = Writer(driven)
    job, chunk = started_stream(driven, writer)
    driven.client.delete(driven.key(f"job:{job.id}"), driven.key(f"jstream:{job.id}"))  # as Node does
    assert writer.append((chunk, {"t": "b"})) == [GONE]
    assert writer.looks == 0
    assert driven.client.exists(driven.key(f"jstream:{job.id}")) == 0


def test_stream_that_somebody_has_deleted_goes_on(driven: DrivenQueue) -> None:
    writer = Writer(driven)
    job, chunk = started_stream(driven, writer)
    driven.client.delete(driven.key(f"jstream:{job.id}"))
    writer.append((chunk, {"t": "b"}))
    assert chunks(driven, job.id) == [{"t": "b"}]


def test_seen_run_that_ends_tells_readers_of_its_late_chunks(driven: DrivenQueue) -> None:
    writer = Writer(driven)
    job, chunk = started_stream(driven, writer)
    driven.complete(job)
    for late in ("b", "c"):
        (entry_id,) = writer.append((chunk, {"t": late}))
        assert driven.job(job.id)["x-py:chunks"].split()[1] == entry_id
        assert writer.era == 0
    assert 0 < ttl_ms(driven, job.id) <= DAY_MS


def test_era_that_was_forgotten_does_not_come_again(driven: DrivenQueue) -> None:
    writer = Writer(driven)
    _, chunk = started_stream(driven, writer)
    before = writer.era
    assert 0 < driven.client.pttl(driven.key("x-py:streaming")) <= DAY_MS
    driven.client.delete(driven.key("x-py:streaming"))
    driven.pass_time(1)
    writer.append((chunk, {"t": "b"}))
    assert writer.era > before
