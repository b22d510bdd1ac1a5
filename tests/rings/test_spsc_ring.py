"""The ring within one process: order, fullness, laps, reading ahead, and what it refuses."""

from __future__ import annotations

import pytest

from glidemq.errors import SharedMemoryError
from glidemq.rings.records import Record
from tests.rings.ring_in_memory import RingInMemory, record_bytes
from tests.shared_memory.forked import Forked


def test_empty_ring_gives_none(ring: RingInMemory) -> None:
    reader = ring.attach().reader()
    assert reader.try_pop() is None
    assert reader.try_read() is None
    assert reader.pop_many(9) == []
    assert reader.read_many(9) == []
    assert reader.is_empty()


def test_record_comes_out_as_it_went_in(ring: RingInMemory) -> None:
    writer, reader = ring.attach().writer(), ring.attach().reader()
    assert writer.try_push(7, (1 << 61) - 1, b"header", b"body")
    assert not reader.is_empty()
    assert reader.try_pop() == Record(7, (1 << 61) - 1, b"header", b"body")
    assert writer.try_push(255, 0, b"")
    assert reader.try_pop() == Record(255, 0, b"", b"")
    assert reader.is_empty()


def test_full_ring_refuses_and_takes_again_what_was_made_free(ring: RingInMemory) -> None:
    writer, reader = ring.attach().writer(), ring.attach().reader()
    pushed = 0
    while writer.try_push(1, pushed, b"h" * 44):
        pushed += 1
    assert pushed == ring.capacity // 64
    assert writer.free_bytes() == 0
    assert writer.unread_bytes() == ring.capacity
    assert reader.try_pop() == Record(1, 0, b"h" * 44, b"")
    assert writer.free_bytes() == 64
    assert writer.try_push(1, pushed, b"h" * 44)
    assert not writer.try_push(1, 0, b"")


def test_refused_push_leaves_nothing_behind(ring: RingInMemory) -> None:
    writer, reader = ring.attach().writer(), ring.attach().reader()
    for seq in range(3):
        assert writer.try_push(1, seq, b"", b"b" * 1200)
    assert not writer.try_push(1, 3, b"", b"b" * 1200)
    assert writer.try_push(1, 4, b"small")
    assert [record.seq for record in reader.pop_many(9)] == [0, 1, 2, 4]


def test_every_size_crosses_the_end_of_the_lap(ring: RingInMemory) -> None:
    writer, reader = ring.attach().writer(), ring.attach().reader()
    seq = 0
    for size in range(1500):
        for _ in range(4):
            seq += 1
            body = bytes([seq % 251]) * size
            assert writer.try_push(1, seq, b"%d" % size, body)
            assert reader.try_pop() == Record(1, seq, b"%d" % size, body)


def test_half_the_ring_fits_at_any_position_once_it_is_empty(ring: RingInMemory) -> None:
    writer, reader = ring.attach().writer(), ring.attach().reader()
    largest = ring.attach().inline_limit - 20
    for step in range(0, 4096, 32):
        assert writer.try_push(1, step, b"", b"x" * (step % 700))
        reader.try_pop()
        assert writer.try_push(2, step, b"", b"y" * largest)
        assert reader.try_pop() == Record(2, step, b"", b"y" * largest)
    assert ring.spilled_bytes() == 0


def test_batches_come_whole_and_in_order(ring: RingInMemory) -> None:
    writer, reader = ring.attach().writer(), ring.attach().reader()
    for turn in range(50):
        for seq in range(20):
            assert writer.try_push(1, turn * 100 + seq, b"", b"x" * (seq * 5))
        assert [record.seq for record in reader.pop_many(7)] == [turn * 100 + seq for seq in range(7)]
        assert [record.seq for record in reader.pop_many(99)] == [turn * 100 + seq for seq in range(7, 20)]


def test_reading_ahead_keeps_the_bytes_until_they_are_acknowledged(ring: RingInMemory) -> None:
    writer, reader = ring.attach().writer(), ring.attach().reader()
    for seq in range(4):
        writer.try_push(1, seq, b"", b"x" * 40)
    items = reader.read_many(3)
    assert [record.seq for record, _ in items] == [0, 1, 2]
    assert writer.unread_bytes() == 4 * 64
    reader.acknowledge(items[1][1])
    assert writer.unread_bytes() == 2 * 64
    reader.acknowledge(items[0][1])
    assert writer.unread_bytes() == 2 * 64, "an acknowledgement never takes back a later one"
    last = reader.try_read()
    assert last is not None
    reader.acknowledge(last[1])
    assert writer.unread_bytes() == 0


def test_settled_records_free_the_bytes_only_up_to_the_first_unsettled(ring: RingInMemory) -> None:
    writer, reader = ring.attach().writer(), ring.attach().reader()
    for seq in range(5):
        writer.try_push(1, seq, b"", b"x" * 40)
    ends = [position for _, position in reader.read_many(5)]
    freed = []
    for index in (3, 1, 0, 0, 4, 2):
        reader.settle(ends[index])
        freed.append(5 - writer.unread_bytes() // 64)
    assert freed == [0, 0, 2, 2, 2, 5]


def test_acknowledging_covers_what_was_settled_before(ring: RingInMemory) -> None:
    writer, reader = ring.attach().writer(), ring.attach().reader()
    for seq in range(4):
        writer.try_push(1, seq, b"", b"x" * 40)
    ends = [position for _, position in reader.read_many(4)]
    reader.settle(ends[1])
    reader.acknowledge(ends[0])
    reader.settle(ends[2])
    assert writer.unread_bytes() == 64
    reader.settle(ends[3])
    assert writer.unread_bytes() == 0


def test_next_reader_begins_with_what_was_not_acknowledged(ring: RingInMemory) -> None:
    writer, first = ring.attach().writer(), ring.attach().reader()
    for seq in range(6):
        writer.try_push(1, seq, b"h")
    first.acknowledge(first.read_many(2)[-1][1])
    first.read_many(2)
    second = ring.attach().reader()
    items = second.read_many(99)
    assert [record.seq for record, _ in items] == [2, 3, 4, 5]
    seen_before = [record.seq for record, position in items if position <= second.read_before]
    assert seen_before == [2, 3], "handed out by the first reader, the others never were"


def test_next_writer_goes_on_behind_what_is_committed(ring: RingInMemory) -> None:
    reader = ring.attach().reader()
    for seq in range(300):
        assert ring.attach().writer().try_push(1, seq, b"", b"x" * (seq % 90))
        assert reader.try_pop() == Record(1, seq, b"", b"x" * (seq % 90))


def test_writer_knows_what_is_unread(ring: RingInMemory) -> None:
    writer, reader = ring.attach().writer(), ring.attach().reader()
    unread: list[int] = []
    for seq in range(1, 400):
        assert writer.try_push(1, seq, b"", b"x" * (seq * 37 % 900))
        unread.append(seq)
        assert writer.unread_sequences() == set(unread)
        if len(unread) == 3:
            reader.try_pop()
            unread.pop(0)
    assert ring.attach().writer().unread_sequences() == set(unread)


def test_header_that_is_too_long_is_refused(ring: RingInMemory) -> None:
    mapped = ring.attach()
    writer = mapped.writer()
    assert writer.try_push(1, 1, b"h" * mapped.header_limit)
    with pytest.raises(ValueError, match="header of 1025 bytes is too long: the limit is 1024"):
        writer.try_push(1, 2, b"h" * (mapped.header_limit + 1))


def test_role_can_be_taken_once(ring: RingInMemory) -> None:
    mapped = ring.attach()
    mapped.writer()
    mapped.reader()
    with pytest.raises(RuntimeError, match="writer"):
        mapped.writer()
    with pytest.raises(RuntimeError, match="reader"):
        mapped.reader()


@pytest.mark.parametrize("capacity", [0, 512, 1000, 4097])
def test_capacity_must_be_a_power_of_two(capacity: int) -> None:
    ring = RingInMemory()
    ring.capacity = capacity
    with pytest.raises(ValueError, match="power of two"):
        ring.attach()
    ring.close()


def test_forked_process_can_neither_push_nor_pop(ring: RingInMemory) -> None:
    writer, reader = ring.attach().writer(), ring.attach().reader()
    writer.try_push(1, 1, b"before")
    assert reader.try_pop() is not None

    def child() -> None:
        for use in (
            lambda: writer.try_push(1, 2, b"small"),
            lambda: writer.try_push(1, 2, b"", b"x" * 3000),
            lambda: writer.try_push(1, 2, b"", b"x" * 60_000),
            lambda: reader.try_pop(),
            lambda: reader.read_many(3),
        ):
            with pytest.raises(SharedMemoryError, match="belongs to the parent"):
                use()

    with Forked(child) as process:
        process.join()
    assert writer.try_push(1, 3, b"after")
    assert reader.try_pop() == Record(1, 3, b"after", b"")


def test_writer_of_a_generation_that_was_given_up_is_refused(ring: RingInMemory) -> None:
    mapped = ring.attach()
    writer = mapped.writer()
    mapped.generation[0] = 2
    for body in (b"", b"x" * 60_000):
        with pytest.raises(SharedMemoryError, match="generation 2, this writer is of 1"):
            writer.try_push(1, 1, b"", body)
    assert ring.attach().reader().is_empty()
    writer.resume()
    assert writer.try_push(1, 1, b"")


def test_record_occupies_what_it_says(ring: RingInMemory) -> None:
    writer = ring.attach().writer()
    for header, body in ((b"", b""), (b"x" * 12, b""), (b"x" * 12, b"y"), (b"x" * 100, b"y" * 500)):
        before = writer.unread_bytes()
        writer.try_push(1, 1, header, body)
        assert writer.unread_bytes() - before == record_bytes(header, body)


@pytest.mark.parametrize("body", [b"", b"x" * 9000])
def test_kind_of_a_filler_is_refused(ring: RingInMemory, body: bytes) -> None:
    with pytest.raises(ValueError, match="kind 0"):
        ring.attach().writer().try_push(0, 1, b"", body)
    assert ring.attach().reader().is_empty()
