"""Whoever is killed, before whichever instruction: records are whole or absent, no job is lost or doubled."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from glidemq.rings.actor_segment import ActorSegment
from glidemq.rings.gateway_side import Harvest
from glidemq.rings.layout import SegmentSizes
from glidemq.rings.records import Record, RecordKind
from tests.rings.interrupted import killed_before_each_instruction
from tests.rings.ring_in_memory import RingInMemory

SMALL = Record(1, 8, b"header", b"x" * 100)
AFTER_FILLER = Record(1, 8, b"header", b"y" * 1500)
SPILLED = Record(1, 8, b"header", b"z" * 9000)
MARKER = Record(2, 9, b"", b"")
SIZES = SegmentSizes(
    activation_bytes=4096,
    reply_bytes=4096,
    outbound_bytes=4096,
    ledger_slots=8,
    ledger_row_bytes=128,
    cancel_words=64,
    spill_slots=4,
    spill_slot_bytes=16_384,
)


@pytest.mark.parametrize("record", [SMALL, AFTER_FILLER, SPILLED], ids=["small", "after a filler", "spilled"])
def test_writer_leaves_a_whole_record_or_nothing(ring: RingInMemory, record: Record) -> None:
    def at_the_lap_s_end() -> Callable[[], object]:
        writer, reader = ring.attach().writer(), ring.attach().reader()
        while writer.tail % 4096 != 3072:
            assert writer.try_push(1, 0, b"")
            reader.pop_many(1)
        return lambda: writer.try_push(*record)

    seen = Counter[bool]()
    for instruction in killed_before_each_instruction(at_the_lap_s_end):
        writer, reader = ring.attach().writer(), ring.attach().reader()
        assert writer.try_push(*MARKER)
        records = reader.pop_many(9)
        assert records in ([MARKER], [record, MARKER]), f"killed before instruction {instruction}"
        assert ring.spilled_bytes() == 0
        seen[len(records) == 2] += 1
    assert seen[False] > 20
    assert seen[True] >= 1


def test_reader_loses_no_record_and_no_spill_slot(ring: RingInMemory) -> None:
    records = [SMALL, SPILLED, AFTER_FILLER, SPILLED]

    def with_unread_records() -> Callable[[], object]:
        writer, reader = ring.attach().writer(), ring.attach().reader()
        for record in records:
            assert writer.try_push(*record)

        def pop() -> None:
            for _ in records:
                reader.try_pop()

        return pop

    seen = Counter[int]()
    for instruction in killed_before_each_instruction(with_unread_records, stride=7):
        left = ring.attach().reader().pop_many(9)
        assert left == records[len(records) - len(left) :], f"killed before instruction {instruction}"
        assert ring.spilled_bytes() == 0
        seen[len(left)] += 1
    assert set(seen) == {0, 1, 2, 3, 4}


@pytest.fixture
def segment() -> Iterator[ActorSegment]:
    segment = ActorSegment.create(SIZES)
    yield segment
    segment.close()


BODIES = {1: b"one", 2: b"2" * 9000, 3: b"three"}


def harvested(harvest: Harvest) -> dict[int, str]:
    """seq → where the job was found; each in one place only."""
    found = [(record.seq, "unread") for record in harvest.unread]
    found += [(entry.seq, "taken") for entry in harvest.taken]
    found += [(entry.seq, "started") for entry in harvest.started]
    found += [(record.seq, "outcome") for record, _ in harvest.outbound]
    assert len(found) == len(dict(found)), found
    return dict(found)


def test_actor_s_jobs_are_each_found_in_exactly_one_place(segment: ActorSegment) -> None:
    """Take, start, run, report, finish: the body of a job runs only if the harvest says that it did."""
    generation = 1
    ran = segment._segment.words(3072, 4)
    gateway = ActorSegment.attach(segment.fds()).gateway_side()

    def with_activations() -> Callable[[], object]:
        attached = ActorSegment.attach(segment.fds())
        side = attached.actor_side(generation)
        mine = attached._segment.words(3072, 4)

        def work() -> None:
            for activation in side.take_activations(9):
                assert side.start(activation) == 0
                mine[activation.record.seq] = 1
                side.outbound.try_push(
                    RecordKind.COMPLETION, activation.record.seq, b"h", activation.record.body
                )
                side.finish(activation)

        return work

    seen: dict[int, set[str]] = {1: set(), 2: set(), 3: set()}
    for seq, body in BODIES.items():
        assert gateway.activations.try_push(RecordKind.ACTIVATION, seq, b"identity %d" % seq, body)
    for instruction in killed_before_each_instruction(with_activations, stride=5):
        harvest = gateway.harvest()
        found = harvested(harvest)
        assert set(found) == set(BODIES), f"killed before instruction {instruction}"
        for seq, place in found.items():
            seen[seq].add(place)
            assert place in ({"started", "outcome"} if ran[seq] else {"unread", "taken", "started"})
            ran[seq] = 0
        assert all(entry.header == b"identity %d" % entry.seq for entry in harvest.taken + harvest.started)
        assert all(record.body == BODIES[record.seq] for record, _ in harvest.outbound)
        assert all(record.body == BODIES[record.seq] for record in harvest.unread)
        generation += 1
        gateway.reset(generation)
        for seq, body in BODIES.items():
            assert gateway.activations.try_push(RecordKind.ACTIVATION, seq, b"identity %d" % seq, body)
    assert all(places == {"unread", "taken", "started", "outcome"} for places in seen.values())


def test_gateway_that_resets_leaves_all_to_harvest_again_or_an_empty_segment(segment: ActorSegment) -> None:
    def with_a_dead_actor_s_jobs() -> Callable[[], object]:
        attached = ActorSegment.attach(segment.fds())
        side = attached.gateway_side()
        if side.generation == 1 and not side.activations.unread_bytes():
            for seq, body in BODIES.items():
                side.activations.try_push(RecordKind.ACTIVATION, seq, b"identity", body)
            actor = ActorSegment.attach(segment.fds()).actor_side(1)
            first, *_ = actor.take_activations(2)
            actor.start(first)
            actor.outbound.try_push(RecordKind.COMMAND, 77, b"", b"c" * 9000)
        return lambda: side.reset(2)

    places = {1: "started", 2: "taken", 3: "unread", 77: "outcome"}
    whole = empty = 0
    for instruction in killed_before_each_instruction(with_a_dead_actor_s_jobs, stride=5):
        next_gateway = ActorSegment.attach(segment.fds()).gateway_side()
        found = harvested(next_gateway.harvest())
        if next_gateway.generation == 1:
            assert found == places, f"killed before instruction {instruction}"
            whole += 1
        else:
            assert found == {}, f"killed before instruction {instruction}"
            assert segment_spilled_blocks(segment) == 0
            assert ActorSegment.attach(segment.fds()).actor_side(2).ledger.free_slots() == 8
            empty += 1
            segment._segment.words(256, 1)[0] = 1  # once more from the beginning
    assert whole > 3
    assert empty > 20


def segment_spilled_blocks(segment: ActorSegment) -> int:
    return sum(os.fstat(fd).st_blocks for fd in segment.fds()[1:])
