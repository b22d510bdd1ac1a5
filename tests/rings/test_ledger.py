"""The ledger: every legal transition, no other, and rows that match their words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product

import pytest

from glidemq.errors import JobStateError
from glidemq.rings.ledger import LEGAL_TRANSITIONS, Ledger, LedgerEntry, LedgerState
from glidemq.shared_memory.segment import Segment
from tests.shared_memory.forked import Forked

SLOTS = 4
BUSY_SEQS = 60_000


class SharedLedger:
    """A ledger in a segment of its own."""

    def __init__(self) -> None:
        self.segment = Segment.create(8192, name="ledger")

    def attach(self) -> Ledger:
        segment = Segment.attach(self.segment.fd, 8192)
        return Ledger(segment, words=0, rows=4096, slots=SLOTS, row_bytes=256)


@pytest.fixture
def shared() -> Iterator[SharedLedger]:
    shared = SharedLedger()
    yield shared
    shared.segment.close()


def bring(ledger: Ledger, state: LedgerState) -> int:
    slot = ledger.acquire()
    assert slot is not None
    if state >= LedgerState.TAKEN:
        ledger.take(slot, 5, b"identity")
    if state >= LedgerState.STARTED:
        ledger.start(slot)
    return slot


@pytest.mark.parametrize(("state", "wanted"), list(product(LedgerState, LedgerState)))
def test_only_legal_transitions_are_made(
    shared: SharedLedger, state: LedgerState, wanted: LedgerState
) -> None:
    ledger = shared.attach()
    slot = bring(ledger, state)
    moves: dict[LedgerState, Callable[[], None]] = {
        LedgerState.TAKEN: lambda: ledger.take(slot, 6, b"other"),
        LedgerState.STARTED: lambda: ledger.start(slot),
        LedgerState.FREE: lambda: ledger.free(slot),
    }
    before = ledger.entries()
    if LEGAL_TRANSITIONS[state] == wanted:
        moves[wanted]()
        assert [entry.state for entry in ledger.entries()] == [wanted] * bool(wanted)
    else:
        with pytest.raises(
            JobStateError, match=f"slot {slot} is {state.name}: it cannot become {wanted.name}"
        ):
            moves[wanted]()
        assert ledger.entries() == before


def test_gateway_sees_who_is_in_the_actor_s_hands(shared: SharedLedger) -> None:
    actor, gateway = shared.attach(), shared.attach()
    slots = [actor.acquire() for _ in range(SLOTS)]
    assert actor.acquire() is None
    assert None not in slots
    for seq, slot in enumerate(slots[:3], 1 << 60):
        assert slot is not None
        actor.take(slot, seq, b"identity %d" % slot)
    assert slots[1] is not None
    actor.start(slots[1])
    states = [LedgerState.TAKEN, LedgerState.STARTED, LedgerState.TAKEN]
    assert gateway.entries() == [
        LedgerEntry(slot or 0, (1 << 60) + index, state, b"identity %d" % (slot or 0))
        for index, (slot, state) in enumerate(zip(slots, states, strict=False))
    ]
    assert gateway.states() == {(1 << 60) + index: state for index, state in enumerate(states)}


def test_slots_are_used_again(shared: SharedLedger) -> None:
    ledger = shared.attach()
    for seq in range(1, 50):
        slot = ledger.acquire()
        assert slot is not None
        ledger.take(slot, seq, b"h" * (seq % ledger.header_limit))
        assert [entry.header for entry in ledger.entries()] == [b"h" * (seq % ledger.header_limit)]
        ledger.start(slot)
        ledger.free(slot)
    assert ledger.free_slots() == SLOTS


def test_header_that_is_too_long_is_refused_and_takes_nothing(shared: SharedLedger) -> None:
    ledger = shared.attach()
    ledger.take(0, 1, b"h" * ledger.header_limit)
    with pytest.raises(ValueError, match="249 bytes exceeds 248"):
        ledger.take(1, 2, b"h" * (ledger.header_limit + 1))
    assert [entry.seq for entry in ledger.entries()] == [1]


def test_damaged_row_is_reported_without_its_header(shared: SharedLedger) -> None:
    ledger = shared.attach()
    ledger.take(2, 9, b"identity")
    shared.segment.view(4096 + 2 * 256 + 10, 1)[0] ^= 1
    assert ledger.entries() == [LedgerEntry(2, 9, LedgerState.TAKEN, None)]


def test_row_read_while_the_slot_changes_hands_belongs_to_its_word(shared: SharedLedger) -> None:
    def child() -> None:
        ledger = shared.attach()
        for seq in range(1, BUSY_SEQS):
            slot = ledger.acquire()
            assert slot is not None
            ledger.take(slot, seq, b"%d" % seq * (1 + seq % 30))
            ledger.start(slot)
            ledger.free(slot)

    gateway = shared.attach()
    matched = 0
    with Forked(child) as process:
        while not process.has_ended():
            for entry in gateway.entries():
                if entry.header is not None:
                    assert entry.header == b"%d" % entry.seq * (1 + entry.seq % 30)
                    matched += 1
        process.join()
    assert matched > 0
