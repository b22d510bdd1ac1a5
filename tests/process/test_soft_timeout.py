"""The signal that ends a job over time may arrive at any instruction: one outcome is reported, and the actor lives."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import glidemq.pipeline.execution
import glidemq.process.sync_actor
from glidemq import SyncJob
from glidemq.process_spec import SOFT_TIMEOUT_SIGNAL
from glidemq.rings.cancel_board import CancelReason
from glidemq.rings.records import Record, RecordKind
from tests.process.one_actor import OneActor, reason_in
from tests.shared_memory.forked import Forked, wait_until

RUNTIME = str(Path(glidemq.process.sync_actor.__file__).parents[1])
TRACED = tuple(RUNTIME + part for part in ("/process/", "/pipeline/", "/commands/", "/job/"))


def returns(job: SyncJob[Any, Any]) -> str:
    return f"done {job.id}"


def raises(job: SyncJob[Any, Any]) -> None:
    raise ValueError("boom")


def process_interrupted(one: OneActor, instruction: int) -> bool:
    """Process one job, with the signal before that instruction of the runtime; False if there are fewer."""
    seq = one.push()
    executed = 0
    signalled = False

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal executed, signalled
        if event == "call":
            if not frame.f_code.co_filename.startswith(TRACED):
                return None
            frame.f_trace_opcodes = True
            frame.f_trace_lines = False
        # As the gateway does: only to a job that the page says is running.
        elif event == "opcode" and one.page.current_seq == seq:
            executed += 1
            if executed == instruction:
                signalled = True
                one.gateway.cancel(seq, CancelReason.TIMEOUT)
                os.kill(os.getpid(), SOFT_TIMEOUT_SIGNAL)
        return trace

    sys.settrace(trace)
    try:
        one.process()
    finally:
        sys.settrace(None)
    return signalled


@pytest.mark.parametrize("processor", [returns, raises])
def test_the_signal_may_come_at_any_instruction(processor: Callable[[Any], Any]) -> None:
    def in_child() -> None:
        one = OneActor(processor)
        signal.signal(SOFT_TIMEOUT_SIGNAL, one.actor._on_soft_timeout)
        reasons: set[str] = set()
        instruction = 1
        while process_interrupted(one, instruction):
            instruction += 1
            (outcome,) = one.outcomes()
            assert outcome.seq == one._seqs
            if outcome.kind == RecordKind.FAILURE:
                reasons.add(reason_in(outcome))
            assert (one.page.current_seq, one.page.held) == (0, 0)
            assert not one.gateway.ledger.states()
            # The next job is not taken for it.
            one.push()
            one.process()
            (after,) = one.outcomes()
            assert after.kind == (RecordKind.COMPLETION if processor is returns else RecordKind.FAILURE)
        assert instruction > 100, "nothing was interrupted"
        assert "Job timeout exceeded" in reasons
        assert reasons <= {"Job timeout exceeded", "boom"}

    with Forked(in_child) as child:
        child.join()


def test_a_job_asked_back_too_late_is_not_aborted() -> None:
    seen: list[Any] = []

    def in_child() -> None:
        def processor(job: SyncJob[Any, Any]) -> None:
            one.gateway.cancel(1, CancelReason.TAKE_BACK)
            seen.append((job.abort_signal.aborted, job.abort_signal.reason))
            job.abort_signal.raise_if_aborted()
            one.gateway.cancel(1, CancelReason.ABORT)
            seen.append(job.abort_signal.aborted)

        one = OneActor(processor)
        one.push()
        one.process()
        assert seen == [(False, None), True]
        assert [reason_in(record) for record in one.outcomes()] == ["revoked"]

    with Forked(in_child) as child:
        child.join()


def test_a_finished_job_is_not_timed_while_it_waits_for_room() -> None:
    """The server is away and the ring is full: that is no overrun."""

    def in_child() -> None:
        one = OneActor(runs)
        one.fill_ring()
        one.push()
        timed: list[int] = []

        def make_room() -> None:
            try:
                wait_until(lambda: one.page.held and one.page.jobs_done == 0 and ran, deadline_s=5)
                wait_until(lambda: not one.page.current_seq, deadline_s=5)
                assert one.gateway.ledger.states(), "the job is in nobody's hands"
            finally:
                timed.append(one.page.current_seq)
                found.extend(one.outcomes())

        helper = threading.Thread(target=make_room)
        helper.start()
        one.process()
        helper.join()
        assert timed == [0]
        assert len([*found, *one.outcomes()]) == 1

    found: list[Record] = []
    ran: list[str] = []

    def runs(job: SyncJob[Any, Any]) -> None:
        ran.append(job.id)

    with Forked(in_child) as child:
        child.join()
