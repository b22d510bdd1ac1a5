"""The ring against a deque: pushing, popping, reading ahead, acknowledging and dying in any order."""

from __future__ import annotations

from collections import deque

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from glidemq.rings.records import Record
from tests.rings.ring_in_memory import RingInMemory, record_bytes

SPILL_SLOTS = 3
SPILL_SLOT_BYTES = 8192
SIZES = st.one_of(st.integers(0, 64), st.integers(0, 1100), st.integers(0, SPILL_SLOT_BYTES))


class RingMachine(RuleBasedStateMachine):
    """Owns: a small ring, and the records that must be in it."""

    @initialize(capacity=st.sampled_from([1024, 2048, 4096]))
    def make(self, capacity: int) -> None:
        self.ring = RingInMemory(capacity, spill_slots=SPILL_SLOTS, spill_slot_bytes=SPILL_SLOT_BYTES)
        self.inline_limit = self.ring.attach().inline_limit
        self.header_limit = self.ring.attach().header_limit
        self.writer = self.ring.attach().writer()
        self.reader = self.ring.attach().reader()
        self.unacknowledged: deque[Record] = deque()
        self.read: deque[int] = deque()  # positions of the first records of `unacknowledged`
        self.settled: set[int] = set()
        self.seq = 0
        self.filler_waits = (
            False  # a refused spilled record may leave one, to be committed with the next record
        )

    def teardown(self) -> None:
        self.ring.close()

    def spilled(self, record: Record) -> bool:
        return 20 + len(record.header) + len(record.body) > self.inline_limit

    @rule(header=st.integers(0, 256), body=SIZES)
    def push(self, header: int, body: int) -> None:
        self.seq += 1
        fill = bytes([self.seq % 255])
        record = Record(1 + self.seq % 255, self.seq, fill * min(header, self.header_limit), fill * body)
        spilled = self.spilled(record)
        pushed = self.writer.try_push(*record)
        if pushed:
            self.unacknowledged.append(record)
            self.filler_waits = False
            return
        if not self.unacknowledged:
            raise AssertionError(f"an empty ring refused {record}")
        slots = sum(map(self.spilled, self.unacknowledged))
        needed = record_bytes(record.header, b"1234" if spilled else record.body)
        # A filler before it is shorter than the record itself, else the record would have fitted there.
        full = self.writer.free_bytes() < 2 * needed
        no_slot = spilled and slots == SPILL_SLOTS
        assert full or no_slot
        self.filler_waits = self.filler_waits or no_slot

    @rule(limit=st.integers(1, 9))
    def pop(self, limit: int) -> None:
        records = self.reader.pop_many(limit)
        known = list(self.unacknowledged)[len(self.read) :]
        assert records == known[:limit]
        if records:  # popping acknowledges what was read before, too
            for _ in range(len(self.read) + len(records)):
                self.unacknowledged.popleft()
            self.read.clear()
            self.settled.clear()

    @rule(limit=st.integers(1, 9))
    def read_ahead(self, limit: int) -> None:
        items = self.reader.read_many(limit)
        known = list(self.unacknowledged)[len(self.read) :]
        assert [record for record, _ in items] == known[:limit]
        self.read.extend(position for _, position in items)

    @precondition(lambda self: self.read)
    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        count = data.draw(st.integers(1, len(self.read)))
        self.reader.acknowledge(self.read[count - 1])
        for _ in range(count):
            self.settled.discard(self.read.popleft())
            self.unacknowledged.popleft()

    @precondition(lambda self: self.read)
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        position = data.draw(st.sampled_from(list(self.read)))
        self.reader.settle(position)
        self.settled.add(position)
        while self.read and self.read[0] in self.settled:
            self.settled.discard(self.read.popleft())
            self.unacknowledged.popleft()

    @rule()
    def writer_dies(self) -> None:
        self.writer = self.ring.attach().writer()
        self.filler_waits = False

    @rule()
    def reader_dies(self) -> None:
        self.reader = self.ring.attach().reader()
        self.read.clear()
        self.settled.clear()

    @invariant()
    def writer_sees_what_is_unread(self) -> None:
        assert self.writer.unread_sequences() == {record.seq for record in self.unacknowledged}
        uncommitted = self.ring.capacity - self.writer.free_bytes() - self.reader.unread_bytes()
        assert uncommitted == 0 or (self.filler_waits and 0 < uncommitted < self.ring.capacity)

    @invariant()
    def only_unacknowledged_bodies_occupy_memory(self) -> None:
        used = sum(
            -(-len(record.body) // 4096) * 4096 for record in self.unacknowledged if self.spilled(record)
        )
        assert self.ring.spilled_bytes() == used


TestRingAgainstDeque = RingMachine.TestCase
TestRingAgainstDeque.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
