"""The cancel board: one word per activation in flight."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from glidemq.rings.cancel_board import CancelBoard, CancelReason
from glidemq.shared_memory.segment import Segment

WORDS = 64


@pytest.fixture
def board() -> Iterator[CancelBoard]:
    segment = Segment.create(4096, name="cancel")
    yield CancelBoard(segment, offset=0, count=WORDS)
    segment.close()


def test_nothing_is_cancelled_at_first(board: CancelBoard) -> None:
    assert [board.reason_for(seq) for seq in range(1, 3 * WORDS)] == [0] * (3 * WORDS - 1)


@pytest.mark.parametrize("reason", [CancelReason.TAKE_BACK, CancelReason.ABORT, CancelReason.TIMEOUT])
def test_only_the_named_activation_is_cancelled(board: CancelBoard, reason: CancelReason) -> None:
    for seq in (1, WORDS, (1 << 61) - 1):
        board.cancel(seq, reason)
        assert board.reason_for(seq) == reason
        assert board.reason_for(seq - WORDS if seq > WORDS else seq + WORDS) == 0
        assert board.reason_for(seq + 1) == 0


def test_later_reason_replaces_the_earlier_one(board: CancelBoard) -> None:
    board.cancel(5, CancelReason.TAKE_BACK)
    board.cancel(5, CancelReason.TIMEOUT)
    assert board.reason_for(5) == CancelReason.TIMEOUT
    board.cancel(5, CancelReason.NONE)
    assert board.reason_for(5) == CancelReason.NONE


def test_clear_forgets_everything(board: CancelBoard) -> None:
    for seq in range(WORDS):
        board.cancel(seq, CancelReason.ABORT)
    board.clear()
    assert not any(board.reason_for(seq) for seq in range(WORDS))
