"""A lease: the right, held by this cell, to decide the outcome of one activation of one job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from glidemq.commands.command import unpack
from glidemq.commands.step import SUSPECT, Activation
from glidemq.job.stored_values import json_object
from glidemq.pipeline.window import UNKNOWN_NS

if TYPE_CHECKING:
    from glidemq.pipeline.limits.start_gate import Reservation
    from glidemq.pipeline.queue_pump import QueuePump

MIN_LOCK_MS = 1_000
MAX_LOCK_MS = 86_400_000
# A Node reclaimer looks at entries idle for 30 s, so no lease goes longer than this without a heartbeat (ruling 3).
MAX_BEAT_INTERVAL_MS = 10_000

# Position of attemptsMade in the packed job.
ATTEMPTS_MADE_FIELD = 5


class Lease:
    """One activation of one job, from the step reply that granted it to the reply that settles it.

    `seq` names the lease inside the cell (rings, ledger, cancel board); `token` names it to the server.
    """

    __slots__ = (
        "_attempts_made",
        "abort_reason",
        "blob",
        "charged_ns",
        "dispatched_ns",
        "entry_id",
        "expected_ns",
        "flags",
        "holder",
        "id",
        "lock_ms",
        "name",
        "next_beat_ns",
        "opts",
        "processed_on",
        "pump",
        "reservation",
        "seq",
        "suspect",
        "timeout_ms",
        "token",
    )

    def __init__(self, seq: int, pump: QueuePump, activation: Activation) -> None:
        self.seq = seq
        self.pump = pump
        self.blob = activation.blob
        self.id = activation.id
        self.token = activation.token
        self.entry_id = activation.entry_id
        self.name = activation.name
        self.opts = activation.opts
        self.processed_on = activation.processed_on
        self.flags = activation.flags
        # A job that was running as a process died runs alone, so that a second death names it.
        self.suspect = activation.flags & SUSPECT != 0
        self.lock_ms = pump.settings.lock_ms
        self.timeout_ms = pump.settings.timeout_ms
        self.next_beat_ns = 0
        self.dispatched_ns = 0
        self.expected_ns = UNKNOWN_NS  # how long it will run, as far as its name tells
        self.charged_ns = 0  # of its queue's turn, for now
        self.holder: Any = None  # whatever the link notes about where the job is
        self.abort_reason = 0
        self.reservation: Reservation | None = None  # what its queue's gate let it start with
        self._attempts_made = 0
        if activation.opts != b"{}":
            self._read_options(activation.opts)

    def _read_options(self, raw: bytes) -> None:
        options = json_object(raw)
        lock_ms = options.get("lockDuration")
        if isinstance(lock_ms, (int, float)) and MIN_LOCK_MS <= lock_ms <= MAX_LOCK_MS:
            self.lock_ms = int(lock_ms)
        timeout_ms = options.get("timeout")
        if isinstance(timeout_ms, (int, float)) and not isinstance(timeout_ms, bool) and timeout_ms > 0:
            self.timeout_ms = int(timeout_ms)

    def restore(self, opts: bytes, attempts_made: int) -> None:
        """Fill in what the rings do not carry, for a lease that a new gateway took over."""
        self.opts = opts
        self._attempts_made = attempts_made
        self.timeout_ms = self.pump.settings.timeout_ms
        self._read_options(opts)
        self.next_beat_ns = 0  # its own lock may be shorter than the one that was assumed

    @property
    def attempts_made(self) -> int:
        """Failures before this activation, as stored when it was granted."""
        return int(unpack(self.blob)[ATTEMPTS_MADE_FIELD] or 0) if self.blob else self._attempts_made

    @property
    def beat_interval_ns(self) -> int:
        """Nanoseconds between heartbeats: half of the job's lock, never slower than every 10 s."""
        return min(self.lock_ms // 2, MAX_BEAT_INTERVAL_MS) * 1_000_000

    @property
    def fence(self) -> tuple[bytes, bytes, int]:
        """What the server checks before it accepts anything about this activation."""
        return self.id, self.token, self.processed_on
