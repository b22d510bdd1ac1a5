"""An actor's segment: who may attach, what survives whom, and that nothing is left behind."""

from __future__ import annotations

import os
import resource
import struct
from collections.abc import Iterator
from itertools import pairwise

import pytest

from glidemq.errors import SharedMemoryError
from glidemq.rings.actor_segment import ActorSegment
from glidemq.rings.cancel_board import CancelReason
from glidemq.rings.layout import SegmentLayout, SegmentSizes
from glidemq.rings.records import Record, RecordKind
from tests.shared_memory.forked import Forked, mappings_of, open_descriptors


@pytest.fixture
def segment() -> Iterator[ActorSegment]:
    segment = ActorSegment.create()
    yield segment
    segment.close()


def test_default_sizes_are_the_documented_ones(segment: ActorSegment) -> None:
    sizes = ActorSegment.attach(segment.fds()).sizes
    assert sizes == SegmentSizes(1 << 20, 1 << 20, 2 << 20, 512, 2048, 8192, 32, 1_310_720)


def test_sizes_travel_with_the_segment() -> None:
    sizes = SegmentSizes(8192, 4096, 16_384, 7, 256, 64, 3, 8192)
    created = ActorSegment.create(sizes)
    attached = ActorSegment.attach(created.fds())
    assert attached.sizes == sizes
    side = attached.actor_side(1)
    assert side.ledger.free_slots() == 7
    assert side.outbound.free_bytes() == 16_384
    attached.close()
    created.close()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("activation_bytes", 5000),
        ("reply_bytes", 2048),
        ("outbound_bytes", 0),
        ("cancel_words", 100),
        ("ledger_slots", 0),
        ("ledger_row_bytes", 63),
        ("spill_slots", 0),
        ("spill_slots", 65),
        ("spill_slot_bytes", 5000),
    ],
)
def test_impossible_sizes_are_refused(name: str, value: int) -> None:
    with pytest.raises(ValueError):
        SegmentSizes(**{name: value})


def test_areas_do_not_overlap() -> None:
    sizes = SegmentSizes(ledger_slots=513, ledger_row_bytes=2056, cancel_words=128)
    layout = SegmentLayout(sizes)
    areas = sorted(
        [
            (0, 4096),
            (layout.activation_control, 512),
            (layout.reply_control, 512),
            (layout.outbound_control, 512),
            (layout.ledger_words, 8 * 513),
            (layout.ledger_rows, 513 * 2056),
            (layout.cancel_words, 8 * 128),
            (layout.activation_data, 1 << 20),
            (layout.reply_data, 1 << 20),
            (layout.outbound_data, 2 << 20),
            (layout.size, 0),
        ]
    )
    for (start, length), (following, _) in pairwise(areas):
        assert start + length <= following


def test_supervisor_that_creates_a_segment_maps_none_of_it() -> None:
    created = ActorSegment.create(name="unmapped")
    assert mappings_of("unmapped") == 0
    assert sum(name.startswith("/memfd:unmapped") for name in open_descriptors().values()) == 3
    created.close()


def test_rings_connect_the_two_sides(segment: ActorSegment) -> None:
    gateway = ActorSegment.attach(segment.fds()).gateway_side()
    actor = ActorSegment.attach(segment.fds()).actor_side(1)
    big = os.urandom(1_000_000)
    assert gateway.activations.try_push(RecordKind.ACTIVATION, 1, b"identity", big)
    assert gateway.replies.try_push(RecordKind.REPLY, 2, b"", big)
    assert actor.outbound.try_push(RecordKind.COMMAND, 3, b"", big)
    assert actor.replies.try_pop() == Record(RecordKind.REPLY, 2, b"", big)
    assert [record for record, _ in gateway.outbound.read_many(9)] == [
        Record(RecordKind.COMMAND, 3, b"", big)
    ]
    (activation,) = actor.take_activations(9)
    assert activation.record == Record(RecordKind.ACTIVATION, 1, b"identity", big)
    assert gateway.activations.unread_bytes() == 0


def test_no_more_activations_are_taken_than_the_ledger_can_hold() -> None:
    segment = ActorSegment.create(SegmentSizes(ledger_slots=3))
    gateway = ActorSegment.attach(segment.fds()).gateway_side()
    actor = ActorSegment.attach(segment.fds()).actor_side(1)
    for seq in range(1, 6):
        gateway.activations.try_push(RecordKind.ACTIVATION, seq, b"identity")
    taken = actor.take_activations(9)
    assert [activation.record.seq for activation in taken] == [1, 2, 3]
    assert actor.take_activations(9) == []
    actor.start(taken[1])
    actor.finish(taken[1])
    assert [activation.record.seq for activation in actor.take_activations(9)] == [4]
    assert gateway.activations.unread_sequences() == {5}
    segment.close()


def test_each_side_can_be_taken_once_per_process(segment: ActorSegment) -> None:
    attached = ActorSegment.attach(segment.fds())
    attached.gateway_side()
    attached.actor_side(1)
    with pytest.raises(SharedMemoryError, match="already the gateway"):
        attached.gateway_side()
    with pytest.raises(SharedMemoryError, match="already the actor"):
        attached.actor_side(1)


def test_forked_process_must_attach_for_itself(segment: ActorSegment) -> None:
    attached = ActorSegment.attach(segment.fds())
    side = attached.actor_side(1)

    def child() -> None:
        with pytest.raises(SharedMemoryError, match="belongs to the parent"):
            side.outbound.try_push(RecordKind.COMPLETION, 1, b"")
        with pytest.raises(SharedMemoryError, match="must attach for itself"):
            attached.gateway_side()
        own = ActorSegment.attach(segment.fds()).actor_side(1)
        assert own.outbound.try_push(RecordKind.COMPLETION, 5, b"")

    with Forked(child) as process:
        process.join()
    assert ActorSegment.attach(segment.fds()).gateway_side().outbound.pop_many(9) == [
        Record(RecordKind.COMPLETION, 5, b"", b"")
    ]


def test_actor_of_another_generation_is_refused_until_the_reset(segment: ActorSegment) -> None:
    with pytest.raises(SharedMemoryError, match="prepared for actor generation 1, this is 2"):
        ActorSegment.attach(segment.fds()).actor_side(2)
    gateway = ActorSegment.attach(segment.fds()).gateway_side()
    with pytest.raises(ValueError, match="generation 0 does not follow 1"):
        gateway.reset(0)
    gateway.reset(2)
    assert gateway.generation == 2
    assert ActorSegment.attach(segment.fds()).actor_side(2).generation == 2
    with pytest.raises(SharedMemoryError, match="this is 1"):
        ActorSegment.attach(segment.fds()).actor_side(1)


def test_nobody_may_act_in_a_segment_that_is_being_reset(segment: ActorSegment) -> None:
    gateway = ActorSegment.attach(segment.fds()).gateway_side()
    gateway.activations.try_push(RecordKind.ACTIVATION, 1, b"identity", b"x" * 100_000)
    os.pwrite(segment.fds()[0], struct.pack("=Q", 1 << 63 | 2), 256)
    for generation in (2, None):
        with pytest.raises(SharedMemoryError, match="not yet accounted"):
            ActorSegment.attach(segment.fds()).actor_side(generation)
    successor = ActorSegment.attach(segment.fds()).gateway_side()
    assert successor.generation == 2
    assert successor.activations.unread_bytes() == 0
    assert os.fstat(segment.fds()[1]).st_blocks == 0
    assert ActorSegment.attach(segment.fds()).actor_side(2).take_activations(9) == []


def test_reset_is_repeated_by_the_gateway_that_succeeds_one_killed_after_it(segment: ActorSegment) -> None:
    first = ActorSegment.attach(segment.fds()).gateway_side()
    first.activations.try_push(RecordKind.ACTIVATION, 1, b"identity")
    first.reset(2)
    second = ActorSegment.attach(segment.fds()).gateway_side()
    assert second.harvest() == ([], [], [], [])
    second.reset(2)
    actor = ActorSegment.attach(segment.fds()).actor_side(2)
    assert second.activations.try_push(RecordKind.ACTIVATION, 2, b"identity")
    assert [activation.record.seq for activation in actor.take_activations(9)] == [2]


def test_reset_empties_everything_and_both_directions_work_again(segment: ActorSegment) -> None:
    gateway = ActorSegment.attach(segment.fds()).gateway_side()
    for generation in range(1, 4):
        actor = ActorSegment.attach(segment.fds()).actor_side(generation)
        for seq in range(1, 30):
            assert gateway.activations.try_push(
                RecordKind.ACTIVATION, seq, b"identity", b"a" * 50_000 * (seq % 2)
            )
            assert gateway.replies.try_push(RecordKind.REPLY, seq, b"")
            assert actor.outbound.try_push(RecordKind.COMPLETION, seq, b"", b"c" * 50_000 * (seq % 3 == 0))
        gateway.cancel(7, CancelReason.ABORT)
        assert actor.cancels.reason_for(7) == CancelReason.ABORT
        assert len(actor.take_activations(5)) == 5
        assert len(gateway.outbound.read_many(4)) == 4
        gateway.reset(generation + 1)
        assert [os.fstat(fd).st_blocks for fd in segment.fds()[1:]] == [0, 0]
        assert gateway.ledger.entries() == []
        assert gateway.cancels.reason_for(7) == CancelReason.NONE
        assert gateway.outbound.is_empty()
        with pytest.raises(SharedMemoryError, match="given up for dead"):
            actor.outbound.try_push(RecordKind.COMPLETION, 1, b"")


def test_gateway_that_takes_over_knows_all_that_a_living_actor_holds(segment: ActorSegment) -> None:
    first = ActorSegment.attach(segment.fds()).gateway_side()
    actor = ActorSegment.attach(segment.fds()).actor_side(1)
    for seq in range(1, 6):
        first.activations.try_push(RecordKind.ACTIVATION, seq, b"identity %d" % seq, b"x" * 40_000)
    one, *_ = actor.take_activations(3)
    actor.start(one)
    actor.outbound.try_push(RecordKind.COMPLETION, 1, b"identity 1")
    actor.finish(one)
    second = ActorSegment.attach(segment.fds()).gateway_side()
    assert second.survey() == {seq: b"identity %d" % seq for seq in range(2, 6)}
    assert [record.seq for record, _ in second.outbound.read_many(9)] == [1]
    assert [activation.record.seq for activation in actor.take_activations(9)] == [4, 5]


@pytest.mark.parametrize("content", [b"", b"\0" * 4096, b"glidemqA" + struct.pack("=Q", 99) + b"\0" * 4080])
def test_foreign_descriptor_is_refused(content: bytes) -> None:
    fd = os.memfd_create("foreign", os.MFD_CLOEXEC)
    os.write(fd, content)
    expected = "layout 99, this process expects 1" if content.startswith(b"glide") else "no actor segment"
    with pytest.raises(SharedMemoryError, match=expected):
        ActorSegment.attach((fd, fd, fd))
    os.close(fd)
    with pytest.raises(SharedMemoryError, match="no actor segment"):
        ActorSegment.attach((fd, fd, fd))
    with pytest.raises(SharedMemoryError, match="3 descriptors, got 1"):
        ActorSegment.attach((fd,))


def test_failed_creation_leaves_no_descriptor() -> None:
    def child() -> None:
        # Room for one more descriptor, whatever gaps those of the test runner have.
        lowest_free = os.dup(0)
        os.close(lowest_free)
        limit = lowest_free + 1
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        before = len(open_descriptors())
        with pytest.raises(SharedMemoryError, match="ulimit -n"):
            ActorSegment.create()
        assert len(open_descriptors()) == before

    with Forked(child) as process:
        process.join()


def test_closing_leaves_neither_descriptor_nor_mapping() -> None:
    before = open_descriptors()
    created = ActorSegment.create(name="tidy-actor")
    attached = [ActorSegment.attach(created.fds()) for _ in range(2)]
    gateway, actor = attached[0].gateway_side(), attached[1].actor_side(1)
    gateway.activations.try_push(RecordKind.ACTIVATION, 1, b"identity", b"x" * 100_000)
    actor.take_activations(1)
    assert mappings_of("tidy-actor") == 2
    for each in (*attached, created, *attached):
        each.close()
    assert mappings_of("tidy-actor") == 0
    assert open_descriptors() == before
