"""What a dead actor leaves is found, wherever it stood, and in one place each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from glidemq.errors import RingCorruptionError
from glidemq.rings.actor_segment import ActorSegment
from glidemq.rings.gateway_side import GatewaySide
from glidemq.rings.records import RecordKind


@pytest.fixture
def segment() -> Iterator[ActorSegment]:
    segment = ActorSegment.create()
    yield segment
    segment.close()


@pytest.fixture
def gateway(segment: ActorSegment) -> GatewaySide:
    """A gateway that has pushed the activations 1 to 6."""
    side = ActorSegment.attach(segment.fds()).gateway_side()
    for seq in range(1, 7):
        assert side.activations.try_push(RecordKind.ACTIVATION, seq, b"identity %d" % seq, b"body %d" % seq)
    return side


def test_dead_actor_that_took_nothing(gateway: GatewaySide) -> None:
    harvest = gateway.harvest()
    assert [record.seq for record in harvest.unread] == [1, 2, 3, 4, 5, 6]
    assert harvest[1:] == ([], [], [])


def test_each_job_is_found_where_it_stood(segment: ActorSegment, gateway: GatewaySide) -> None:
    actor = ActorSegment.attach(segment.fds()).actor_side(1)
    done, reported, started, taken = actor.take_activations(4)
    for activation in (done, reported, started):
        actor.start(activation)
    for activation in (done, reported):
        actor.outbound.try_push(RecordKind.COMPLETION, activation.record.seq, activation.record.header)
    actor.finish(done)
    harvest = gateway.harvest()
    assert [record.seq for record in harvest.unread] == [5, 6]
    assert [(entry.seq, entry.header) for entry in harvest.taken] == [(4, b"identity 4")]
    assert [(entry.seq, entry.header) for entry in harvest.started] == [(3, b"identity 3")]
    assert [record.seq for record, _ in harvest.outbound] == [1, 2]
    assert taken.record.seq == 4


@pytest.mark.parametrize("kind", [RecordKind.COMPLETION, RecordKind.FAILURE, RecordKind.SKIPPED])
def test_outcome_that_was_read_but_not_acknowledged_beats_started(
    segment: ActorSegment, gateway: GatewaySide, kind: RecordKind
) -> None:
    actor = ActorSegment.attach(segment.fds()).actor_side(1)
    (activation,) = actor.take_activations(1)
    actor.start(activation)
    actor.outbound.try_push(kind, 1, b"identity 1")
    assert len(gateway.outbound.read_many(9)) == 1
    harvest = gateway.harvest()
    assert harvest.started == []
    assert harvest.outbound == []


def test_command_is_no_outcome(segment: ActorSegment, gateway: GatewaySide) -> None:
    actor = ActorSegment.attach(segment.fds()).actor_side(1)
    (activation,) = actor.take_activations(1)
    actor.start(activation)
    actor.outbound.try_push(RecordKind.COMMAND, 1, b"a command that has the job's number by chance")
    harvest = gateway.harvest()
    assert [entry.seq for entry in harvest.started] == [1]
    assert [record.kind for record, _ in harvest.outbound] == [RecordKind.COMMAND]


def test_activation_that_was_taken_while_it_still_stands_in_the_ring_is_found_once(
    segment: ActorSegment, gateway: GatewaySide
) -> None:
    actor = ActorSegment.attach(segment.fds()).actor_side(1)
    actor.ledger.take(actor.ledger.acquire() or 0, 1, b"identity 1")
    harvest = gateway.harvest()
    assert [entry.seq for entry in harvest.taken] == [1]
    assert [record.seq for record in harvest.unread] == [2, 3, 4, 5, 6]


def test_second_gateway_harvests_what_the_first_did_not_acknowledge(
    segment: ActorSegment, gateway: GatewaySide
) -> None:
    actor = ActorSegment.attach(segment.fds()).actor_side(1)
    for activation in actor.take_activations(3):
        actor.start(activation)
        actor.outbound.try_push(RecordKind.COMPLETION, activation.record.seq, b"", b"x" * 50_000)
        actor.finish(activation)
    (_, end), *_ = gateway.outbound.read_many(2)
    gateway.outbound.acknowledge(end)
    harvest = ActorSegment.attach(segment.fds()).gateway_side().harvest()
    assert [record.seq for record, _ in harvest.outbound] == [2, 3]
    assert [record.seq for record in harvest.unread] == [4, 5, 6]


def test_ring_that_the_actor_s_native_code_overwrote_is_reported(
    segment: ActorSegment, gateway: GatewaySide
) -> None:
    attached = ActorSegment.attach(segment.fds())
    actor = attached.actor_side(1)
    actor.outbound.try_push(RecordKind.COMPLETION, 1, b"identity 1")
    raw = attached._segment.buffer
    raw[raw.rfind(b"identity 1")] ^= 1
    with pytest.raises(RingCorruptionError):
        gateway.harvest()
    assert len(gateway.ledger.entries()) == 0
