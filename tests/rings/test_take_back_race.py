"""Taking back against starting, in two processes that both run: a load test of what
`test_take_back_interleavings.py` goes through step by step.
"""

from __future__ import annotations

import random
import time

from glidemq.rings.actor_segment import ActorSegment
from glidemq.rings.layout import SegmentSizes
from glidemq.rings.records import RecordKind
from glidemq.shared_memory.segment import Segment
from tests.shared_memory.forked import DEADLINE_S, Forked

JOBS = 40_000
RAN_BYTES = (JOBS + 4096) & -4096


def test_job_is_either_taken_back_or_answered_for_and_runs_at_most_once() -> None:
    segment = ActorSegment.create(SegmentSizes(activation_bytes=16_384, ledger_slots=16))
    ran = Segment.create(RAN_BYTES, name="ran")

    def actor() -> None:
        side = ActorSegment.attach(segment.fds()).actor_side(1)
        runs = Segment.attach(ran.fd, RAN_BYTES).view(0, RAN_BYTES)
        while not runs[RAN_BYTES - 1]:
            taken = side.take_activations(8)
            if not taken:
                time.sleep(0)
            for activation in taken:
                seq = activation.record.seq
                cancelled = side.start(activation)
                if not cancelled:
                    runs[seq] += 1
                kind = RecordKind.SKIPPED if cancelled else RecordKind.COMPLETION
                while not side.outbound.try_push(kind, seq, activation.record.header):
                    time.sleep(0)
                side.finish(activation)

    chance = random.Random(6)
    taken_back: set[int] = set()
    answers: dict[int, int] = {}
    in_flight: set[int] = set()
    with Forked(actor) as process:
        side = ActorSegment.attach(segment.fds()).gateway_side()
        seq = 0
        deadline = time.monotonic() + DEADLINE_S
        while seq < JOBS - 1 or in_flight:
            assert time.monotonic() < deadline, f"no answer for {sorted(in_flight)[:9]}"
            for _ in range(chance.randrange(1, 12)):
                if seq == JOBS - 1 or not side.activations.try_push(
                    RecordKind.ACTIVATION, seq + 1, b"identity"
                ):
                    break
                seq += 1
                in_flight.add(seq)
            if chance.random() < 0.7:
                sure = side.take_back([job for job in in_flight if chance.random() < 0.5])
                taken_back |= sure
                in_flight -= sure
            for record in side.outbound.pop_many(64):
                assert record.seq not in answers, "answered twice"
                answers[record.seq] = record.kind
                in_flight.discard(record.seq)
        runs = ran.view(0, RAN_BYTES)
        # What was taken back is skipped when its turn comes: wait until the actor has passed it all.
        while side.activations.unread_bytes() or side.ledger.states():
            assert time.monotonic() < deadline, "the actor does not come to its end"
            time.sleep(0)
        for record in side.outbound.pop_many(1 << 20):
            assert record.seq not in answers, "answered twice"
            answers[record.seq] = record.kind
        runs[RAN_BYTES - 1] = 1
        process.join()
    completed = {job for job, kind in answers.items() if kind == RecordKind.COMPLETION}
    assert {job for job in range(1, JOBS) if runs[job] == 1} == completed
    assert max(runs[1:JOBS]) == 1
    assert not completed & taken_back, "taken back, and run nevertheless"
    assert set(answers) == set(range(1, JOBS)), "every activation is answered in the end"
    assert len(taken_back) > 100
    assert len(completed) > 100
    ran.close()
    segment.close()
