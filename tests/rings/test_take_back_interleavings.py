"""Taking back against starting, with one side paused before each of its instructions while the other acts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from glidemq.rings import gateway_side
from glidemq.rings.actor_segment import ActorSegment
from glidemq.rings.actor_side import ActorSide
from glidemq.rings.layout import SegmentSizes
from glidemq.rings.records import RecordKind
from tests.rings.interrupted import paused_before_each_instruction

RAN, TAKEN_BACK = 0, 1
SEQ = 5


@pytest.fixture
def segment() -> Iterator[ActorSegment]:
    segment = ActorSegment.create(SegmentSizes(ledger_slots=4, cancel_words=64))
    yield segment
    segment.close()


def notes(attached: ActorSegment) -> memoryview:
    """Two words of the test's own, in a part of page 0 that nothing uses."""
    return attached._segment.words(3072, 2)


def run_all(side: ActorSide, ran: memoryview) -> None:
    for activation in side.take_activations(1):
        run_one(side, activation, ran)


def run_one(side: ActorSide, activation: object, ran: memoryview) -> None:
    cancelled = side.start(activation)  # type: ignore[arg-type]
    ran[RAN] += not cancelled
    kind = RecordKind.SKIPPED if cancelled else RecordKind.COMPLETION
    assert side.outbound.try_push(kind, SEQ, b"identity")
    side.finish(activation)  # type: ignore[arg-type]


def verdict(ran: bool, taken_back: bool, answers: list[int]) -> str:
    assert not (ran and taken_back), "it was taken back and ran nevertheless"
    assert answers == [RecordKind.COMPLETION if ran else RecordKind.SKIPPED]
    return "ran" if ran else "taken back" if taken_back else "skipped"


def test_actor_paused_anywhere_while_the_gateway_takes_back(segment: ActorSegment) -> None:
    gateway = ActorSegment.attach(segment.fds()).gateway_side()
    words = notes(segment)
    generation = 1

    def ready_to_run() -> Callable[[], object]:
        attached = ActorSegment.attach(segment.fds())
        side, mine = attached.actor_side(generation), notes(attached)
        return lambda: run_all(side, mine)

    seen = Counter[str]()
    gateway.activations.try_push(RecordKind.ACTIVATION, SEQ, b"identity")
    for go_on in paused_before_each_instruction(ready_to_run, stride=3):
        taken_back = SEQ in gateway.take_back([SEQ])
        go_on()
        answers = [record.kind for record in gateway.outbound.pop_many(9)]
        seen[verdict(bool(words[RAN]), taken_back, answers)] += 1
        words[RAN] = 0
        generation += 1
        gateway.reset(generation)
        gateway.activations.try_push(RecordKind.ACTIVATION, SEQ, b"identity")
    assert set(seen) == {"ran", "taken back", "skipped"}


@pytest.mark.parametrize("taken_before", [False, True], ids=["still in the ring", "already taken"])
def test_gateway_paused_anywhere_while_the_actor_runs(segment: ActorSegment, taken_before: bool) -> None:
    words = notes(segment)
    generation = 1

    def ready_to_take_back() -> Callable[[], object]:
        attached = ActorSegment.attach(segment.fds())
        side, mine = attached.gateway_side(), notes(attached)

        def take_back() -> None:
            mine[TAKEN_BACK] = SEQ in side.take_back([SEQ])

        return take_back

    seen = Counter[str]()
    gateway = ActorSegment.attach(segment.fds()).gateway_side()
    gateway.activations.try_push(RecordKind.ACTIVATION, SEQ, b"identity")
    actor = ActorSegment.attach(segment.fds()).actor_side(generation)
    taken = actor.take_activations(1) if taken_before else []
    for go_on in paused_before_each_instruction(ready_to_take_back, stride=3):
        for activation in taken or actor.take_activations(1):
            run_one(actor, activation, words)
        go_on()
        answers = [record.kind for record in gateway.outbound.pop_many(9)]
        seen[verdict(bool(words[RAN]), bool(words[TAKEN_BACK]), answers)] += 1
        words[RAN] = words[TAKEN_BACK] = 0
        generation += 1
        gateway.reset(generation)
        gateway.activations.try_push(RecordKind.ACTIVATION, SEQ, b"identity")
        actor = ActorSegment.attach(segment.fds()).actor_side(generation)
        taken = actor.take_activations(1) if taken_before else []
    assert {"ran", "taken back"} <= set(seen)


def test_gateway_looks_only_after_its_fence(segment: ActorSegment, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fence is where the actor's STARTED becomes visible; a look before it would miss that."""
    gateway = ActorSegment.attach(segment.fds()).gateway_side()
    actor = ActorSegment.attach(segment.fds()).actor_side(1)
    gateway.activations.try_push(RecordKind.ACTIVATION, SEQ, b"identity")
    (activation,) = actor.take_activations(1)
    answers: list[int] = []
    monkeypatch.setattr(gateway_side, "full_fence", lambda: answers.append(actor.start(activation)))
    assert gateway.take_back([SEQ]) == set()
    assert answers == [1], "the cancel word was there when the fence was reached"
