"""Large bodies: transparent, bounded, and gone from memory once acknowledged."""

from __future__ import annotations

import os

import pytest

from glidemq.rings.records import Record
from glidemq.rings.spill import SpillArea
from tests.rings.ring_in_memory import RingInMemory

SLOT = 16 * 4096


def test_large_body_comes_out_as_it_went_in(ring: RingInMemory) -> None:
    writer, reader = ring.attach().writer(), ring.attach().reader()
    for size in (2013, 4095, 4096, SLOT):
        body = os.urandom(size)
        assert writer.try_push(3, size, b"header", body)
        assert ring.spilled_bytes() == -(-size // 4096) * 4096
        assert reader.try_pop() == Record(3, size, b"header", body)
        assert ring.spilled_bytes() == 0


def test_body_larger_than_a_slot_is_an_error(ring: RingInMemory) -> None:
    writer = ring.attach().writer()
    with pytest.raises(ValueError, match="65537 bytes does not fit into a ring: the limit is 65536"):
        writer.try_push(1, 1, b"", b"x" * (SLOT + 1))
    assert ring.spilled_bytes() == 0
    assert writer.try_push(1, 1, b"", b"x" * SLOT)


def test_no_free_slot_means_full_but_small_records_still_pass(ring: RingInMemory) -> None:
    writer, reader = ring.attach().writer(), ring.attach().reader()
    for seq in range(4):
        assert writer.try_push(1, seq, b"", bytes([seq]) * 9000)
    assert not writer.try_push(1, 4, b"", b"x" * 9000)
    assert writer.try_push(1, 5, b"small")
    assert reader.try_pop() == Record(1, 0, b"", bytes([0]) * 9000)
    assert writer.try_push(1, 6, b"", b"x" * 9000)
    assert [record.seq for record in reader.pop_many(9)] == [1, 2, 3, 5, 6]


def test_body_stays_until_its_record_is_acknowledged(ring: RingInMemory) -> None:
    writer, reader = ring.attach().writer(), ring.attach().reader()
    for seq in range(3):
        writer.try_push(1, seq, b"", bytes([seq]) * 4096)
    items = reader.read_many(9)
    assert ring.spilled_bytes() == 3 * 4096
    reader.settle(items[1][1])
    assert ring.spilled_bytes() == 3 * 4096
    again = ring.attach().reader().read_many(9)
    assert [record for record, _ in again] == [record for record, _ in items]
    reader.settle(items[0][1])
    assert ring.spilled_bytes() == 4096


def test_lack_of_memory_means_full_and_leaves_nothing(
    ring: RingInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, reader = ring.attach().writer(), ring.attach().reader()
    pwrite = os.pwrite

    def no_second_page(fd: int, data: bytes, position: int) -> int:
        if position % SLOT:
            raise OSError(28, "No space left on device")
        return pwrite(fd, bytes(data)[:4096], position)

    with monkeypatch.context() as short:
        short.setattr(os, "pwrite", no_second_page)
        assert not writer.try_push(1, 1, b"", b"x" * 9000)
    assert ring.spilled_bytes() == 0
    assert reader.is_empty()
    assert writer.try_push(1, 2, b"", b"y" * 9000)
    assert reader.try_pop() == Record(1, 2, b"", b"y" * 9000)


def test_slot_of_a_writer_killed_before_it_committed_is_freed_by_the_next(ring: RingInMemory) -> None:
    mapped = ring.attach()
    mapped.writer().try_push(1, 1, b"", b"x" * 9000)
    assert mapped.spill.try_store(0, mapped.tail[0], b"y" * 9000) is not None
    assert ring.spilled_bytes() == 6 * 4096
    ring.attach().writer()
    assert ring.spilled_bytes() == 3 * 4096
    assert ring.attach().reader().try_pop() == Record(1, 1, b"", b"x" * 9000)


def test_slot_of_a_reader_killed_before_it_freed_is_freed_by_the_next(ring: RingInMemory) -> None:
    mapped = ring.attach()
    writer = mapped.writer()
    for seq in range(2):
        writer.try_push(1, seq, b"", bytes([seq]) * 9000)
    first_end = ring.attach().reader().read_many(1)[0][1]
    mapped.head[0] = first_end
    assert ring.spilled_bytes() == 6 * 4096
    reader = ring.attach().reader()
    assert ring.spilled_bytes() == 3 * 4096
    assert reader.pop_many(9) == [Record(1, 1, b"", bytes([1]) * 9000)]
    assert ring.spilled_bytes() == 0


def test_rings_that_share_slots_do_not_free_each_other_s(ring: RingInMemory) -> None:
    """The activation and the reply ring share slots; here their cursors differ by far."""
    other = ring.attach(number=1)
    slot = other.spill.try_store(1, 1 << 40, b"z" * 9000)
    assert slot is not None
    ring.attach().writer()
    ring.attach().reader()
    assert other.spill.load(slot, 9000) == b"z" * 9000
    other.spill.release_uncommitted(1, 1 << 40)
    assert ring.spilled_bytes() == 0


def test_one_record_is_asked_for_and_no_further_large_body_is_copied(ring: RingInMemory) -> None:
    writer = ring.attach().writer()
    mapped = ring.attach()
    loaded: list[int] = []
    load = mapped.spill.load

    class CountingSpill(SpillArea):
        def load(self, slot: int, length: int) -> bytes:
            loaded.append(slot)
            return load(slot, length)

    mapped.spill = CountingSpill(ring.spilled, ring.segment.words(512, 4), SLOT)
    for seq in range(4):
        writer.try_push(1, seq, b"", b"x" * 50_000)
    reader = mapped.reader()
    for taken in range(1, 5):
        assert reader.try_pop() is not None
        assert len(loaded) == taken
