"""Where the gateway says that an activation shall not start, or shall stop."""

from __future__ import annotations

from enum import IntEnum

from glidemq.shared_memory.segment import Segment


class CancelReason(IntEnum):
    """Why an activation is cancelled. 0: it is not."""

    NONE = 0
    TAKE_BACK = 1  # it waited too long in the ring; means nothing once the job has started
    ABORT = 2  # revoked, or its lease is lost: a running job sees its abort signal
    TIMEOUT = 3  # it overran its timeout: likewise, and its process is killed after the grace


class CancelBoard:
    """One word for each activation in flight: `seq << 2 | reason` at index seq modulo the number of words.

    Cancelling and starting exclude one another: the gateway stores the word, fences all processes, then
    looks whether the job has started; the actor stores STARTED, then looks here. At least one of them sees
    the other.

    Owns: nothing. Written by: the gateway. Read by: the actor, before and while it runs a job.
    Stops when: its segment is closed.
    """

    __slots__ = ("_mask", "_words")

    def __init__(self, segment: Segment, *, offset: int, count: int) -> None:
        """`count`: a power of two, more than activations can be in flight."""
        self._words = segment.words(offset, count)
        self._mask = count - 1

    def cancel(self, seq: int, reason: CancelReason) -> None:
        """Cancel activation `seq`; follow with `full_fence()` before looking at the ledger (gateway)."""
        self._words[seq & self._mask] = seq << 2 | reason

    def reason_for(self, seq: int) -> int:
        """The `CancelReason` of activation `seq` as a plain number, 0 if it is not cancelled."""
        word: int = self._words[seq & self._mask]
        return word & 3 if word >> 2 == seq else 0

    def clear(self) -> None:
        """Forget everything; only while the actor is dead."""
        self._words[:] = memoryview(bytes(self._words.nbytes)).cast("Q")
