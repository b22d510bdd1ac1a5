"""One ring, two processes: order and content under load, and after either is killed at any moment."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from itertools import count

import pytest

from glidemq.rings.records import Record
from glidemq.rings.ring_reader import RingReader
from glidemq.rings.ring_writer import RingWriter
from tests.rings.ring_in_memory import RingInMemory
from tests.shared_memory.forked import DEADLINE_S, Forked

STRESS_RECORDS = 120_000
KILLS = 40
PATTERN = bytes(range(256)) * 300


def record_of(round_: int, seq: int) -> Record:
    """A record of a size and content that both sides can work out; one in fifty is spilled."""
    mixed = (seq * 2_654_435_761 + round_) & 0xFFFFFFFF
    size = 40_000 + mixed % 20_000 if mixed % 50 == 0 else mixed % 700
    return Record(1 + mixed % 255, seq, b"%d" % round_, PATTERN[mixed % 256 :][:size])


def push_until_killed(writer: RingWriter, round_: int, limit: int) -> None:
    for seq in range(limit):
        record = record_of(round_, seq)
        while not writer.try_push(*record):
            time.sleep(0)


def records_from(reader: RingReader) -> Iterator[Record]:
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        records = reader.pop_many(64)
        yield from records
        if not records:
            time.sleep(0)
    raise AssertionError("no record came")


@pytest.fixture
def small_ring() -> Iterator[RingInMemory]:
    """Laps often: 16 KiB, 3 spill slots."""
    ring = RingInMemory(16_384, spill_slots=3)
    yield ring
    ring.close()


def test_everything_arrives_in_order_and_unchanged(small_ring: RingInMemory) -> None:
    with Forked(lambda: push_until_killed(small_ring.attach().writer(), 0, STRESS_RECORDS)) as process:
        records = records_from(small_ring.attach().reader())
        for seq in range(STRESS_RECORDS):
            assert next(records) == record_of(0, seq)
        process.join()
    assert small_ring.attach().reader().is_empty()
    assert small_ring.spilled_bytes() == 0


def test_writer_killed_at_any_moment_leaves_whole_records_or_nothing(small_ring: RingInMemory) -> None:
    chance = random.Random(20)
    reader = small_ring.attach().reader()
    for round_ in range(KILLS):

        def child(round_: int = round_) -> None:
            push_until_killed(small_ring.attach().writer(), round_, 1 << 40)

        kill_after = chance.randrange(1, 400)
        with Forked(child) as process:
            batch: list[Record] = []
            deadline = time.monotonic() + DEADLINE_S
            while len(batch) < kill_after:
                batch += reader.pop_many(16)
                assert time.monotonic() < deadline, "the writer makes no progress"
            for _ in range(chance.randrange(2_000)):
                pass  # so that the kill falls anywhere between two of the writer's stores
            process.kill()
        batch += reader.pop_many(1 << 20)
        for seq, record in enumerate(batch):
            assert record == record_of(round_, seq)
    small_ring.attach().writer()  # takes back what the last one left uncommitted
    assert small_ring.spilled_bytes() == 0


def test_reader_killed_at_any_moment_loses_nothing(small_ring: RingInMemory) -> None:
    """Each reader stores how far it came before it acknowledges; the next one finds all from the head on."""
    done = small_ring.segment.words(2048, 1)
    chance = random.Random(21)

    def read() -> None:
        reader = small_ring.attach().reader()
        progress = small_ring.attach().segment.words(2048, 1)
        while True:
            for record, position in reader.read_many(16):
                assert record == record_of(0, record.seq)
                assert record.seq in (progress[0], progress[0] - 1), "one may be read again, none is skipped"
                progress[0] = record.seq + 1
                reader.acknowledge(position)
            time.sleep(0)

    with Forked(lambda: push_until_killed(small_ring.attach().writer(), 0, 1 << 40)) as writer:
        for _ in range(KILLS):
            with Forked(read) as process:
                goal = done[0] + chance.randrange(1, 400)
                deadline = time.monotonic() + DEADLINE_S
                for attempt in count():
                    if done[0] >= goal:
                        break
                    if attempt % 1000 == 999 and process.has_ended():
                        process.join()
                    assert time.monotonic() < deadline, "the reader makes no progress"
                    time.sleep(0)
                process.kill()
        writer.kill()
    last = small_ring.attach().reader()
    for record in last.pop_many(1 << 20):
        assert record == record_of(0, record.seq)
        assert record.seq in (done[0], done[0] - 1)
        done[0] = record.seq + 1
    small_ring.attach().writer()
    assert small_ring.spilled_bytes() == 0
