"""What is committed but damaged is never handed out, and nothing stale is taken for a record."""

from __future__ import annotations

import pytest

from glidemq.errors import RingCorruptionError
from glidemq.rings.records import Record
from tests.rings.ring_in_memory import PAGE, RingInMemory, record_bytes

HEADER, BODY = b"header", b"a body of some length"


def test_no_flipped_byte_goes_unnoticed(ring: RingInMemory) -> None:
    mapped = ring.attach()
    mapped.writer().try_push(1, 5, HEADER, BODY)
    data = ring.segment.view(PAGE, record_bytes(HEADER, BODY))
    for index in range(20 + len(HEADER) + len(BODY)):
        for mask in (0x01, 0x80, 0xFF):
            data[index] ^= mask
            with pytest.raises(RingCorruptionError, match="position 0 of the ring"):
                ring.attach().reader().try_pop()
            data[index] ^= mask
    assert ring.attach().reader().try_pop() == Record(1, 5, HEADER, BODY)


def test_flipped_byte_of_a_spilled_body_is_noticed(ring: RingInMemory) -> None:
    body = b"x" * 50_000
    ring.attach().writer().try_push(1, 5, HEADER, body)
    ring.spilled.write_at(49_999, b"y")
    with pytest.raises(RingCorruptionError):
        ring.attach().reader().try_pop()
    ring.spilled.write_at(49_999, b"x")
    assert ring.attach().reader().try_pop() == Record(1, 5, HEADER, body)


def test_flipped_byte_of_a_filler_is_noticed(ring: RingInMemory) -> None:
    writer, reader = ring.attach().writer(), ring.attach().reader()
    for seq in range(3):
        writer.try_push(1, seq, b"", b"x" * 1300)
    reader.pop_many(2)
    filler_at = 3 * record_bytes(b"", b"x" * 1300)
    assert writer.try_push(1, 3, b"", b"x" * 1300)
    data = ring.segment.view(PAGE, ring.capacity)
    for index in range(20):
        data[filler_at + index] ^= 0x10
        observer = ring.attach().reader()
        assert [record.seq for record, _ in observer.read_many(1)] == [2]
        with pytest.raises(RingCorruptionError):
            observer.read_many(1)
        data[filler_at + index] ^= 0x10
    assert [record.seq for record in reader.pop_many(9)] == [2, 3]


def test_records_before_the_damage_are_handed_out_first(ring: RingInMemory) -> None:
    writer, reader = ring.attach().writer(), ring.attach().reader()
    for seq in range(4):
        writer.try_push(1, seq, b"", b"x" * 40)
    ring.segment.view(PAGE + 2 * 64 + 30, 1)[0] ^= 1
    assert [record.seq for record in reader.pop_many(9)] == [0, 1]
    for _ in range(2):
        with pytest.raises(RingCorruptionError):
            reader.pop_many(9)


@pytest.mark.parametrize("tail", [1, 33, PAGE + 32, 1 << 63, (1 << 64) - 1])
def test_impossible_tail_is_noticed(ring: RingInMemory, tail: int) -> None:
    mapped = ring.attach()
    mapped.writer().try_push(1, 1, HEADER)
    mapped.tail[0] = tail
    with pytest.raises(RingCorruptionError):
        ring.attach().reader().try_pop()


def test_tail_that_claims_more_than_was_written_yields_nothing(ring: RingInMemory) -> None:
    mapped = ring.attach()
    mapped.writer().try_push(1, 1, HEADER)
    mapped.tail[0] += 320
    reader = ring.attach().reader()
    assert reader.pop_many(9) == [Record(1, 1, HEADER, b"")]
    with pytest.raises(RingCorruptionError):
        reader.pop_many(9)


def test_record_of_an_earlier_lap_is_not_taken_for_one_of_this_lap(ring: RingInMemory) -> None:
    mapped = ring.attach()
    writer, reader = mapped.writer(), ring.attach().reader()
    for seq in range(ring.capacity // 64):
        writer.try_push(1, seq, b"", b"x" * 40)
    assert len(reader.pop_many(999)) == ring.capacity // 64
    mapped.tail[0] += 64  # as if the tail became visible before the record
    with pytest.raises(RingCorruptionError):
        reader.try_pop()


def test_record_of_an_earlier_generation_is_not_taken_for_one_of_this(ring: RingInMemory) -> None:
    mapped = ring.attach()
    mapped.writer().try_push(1, 1, HEADER)
    mapped.clear()
    mapped.generation[0] = 2
    mapped.tail[0] = record_bytes(HEADER, b"")
    with pytest.raises(RingCorruptionError):
        ring.attach().reader().try_pop()


def test_record_that_becomes_whole_in_time_is_read(
    ring: RingInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A processor that shows the tail before the bytes shows the bytes after a fence."""
    ring.attach().writer().try_push(1, 1, HEADER, BODY)
    data = ring.segment.view(PAGE, 64)
    data[30] ^= 1

    def fence_that_makes_the_store_visible() -> None:
        data[30] ^= 1

    monkeypatch.setattr("glidemq.rings.ring_reader.full_fence", fence_that_makes_the_store_visible)
    assert ring.attach().reader().try_pop() == Record(1, 1, HEADER, BODY)


def test_writer_that_looks_at_a_damaged_ring_comes_to_an_end(ring: RingInMemory) -> None:
    mapped = ring.attach()
    writer = mapped.writer()
    for seq in range(1, 4):
        writer.try_push(1, seq, b"", b"x" * 40)
    ring.segment.view(PAGE + 64, 128)[:] = bytes(128)
    assert writer.unread_sequences() == {1}
    mapped.head[0] = (1 << 64) - 64
    assert writer.unread_sequences() == set()
