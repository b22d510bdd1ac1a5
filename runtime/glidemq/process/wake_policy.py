"""When an actor wakes its gateway about finished jobs: rarely, but before anything would have to wait for it."""

from __future__ import annotations

# A completion-only wake costs the gateway some 100 µs and a server call; shared by this many jobs it is cheap.
ENOUGH_HELD = 32
# Work for this long must lie ready while the gateway fetches more: a wake, a server call and their scheduling.
REFILL_NS = 4_000_000
# Nobody waits longer than this for a finished job to be reported (feasibility 26).
LONGEST_HOLD_NS = 50_000_000
JOBS_PER_HOLD = 16
SMOOTHING = 0.125


class WakePolicy:
    """Decides, after each finished job of one actor, whether to ring the gateway now.

    All finished jobs are already in the ring, so a death loses none of them: only their report is delayed.
    """

    def __init__(self) -> None:
        self.held = 0
        self._oldest_ns = 0
        self.mean_ns = 0.0
        self._woken_ns = 0

    def finished(
        self, now_ns: int, service_ns: int, *, urgent: bool, waiting_bytes: int, record_bytes: int
    ) -> bool:
        """Note one finished job; True when the gateway should be woken now.

        waiting_bytes: what lies unread in the activation ring. record_bytes: the size of the job just taken from it.
        """
        if not self.held:
            self._oldest_ns = now_ns
        self.held += 1
        self.mean_ns += SMOOTHING * (service_ns - self.mean_ns)
        if urgent or not waiting_bytes or self.held >= ENOUGH_HELD:
            return True
        if waiting_bytes * self.mean_ns < REFILL_NS * record_bytes:
            # Unless it was woken for this just now, and is about to refill.
            return now_ns - self._woken_ns > REFILL_NS
        # The next job would end after the oldest report is due.
        hold_ns = min(LONGEST_HOLD_NS, JOBS_PER_HOLD * self.mean_ns)
        return now_ns + self.mean_ns - self._oldest_ns > hold_ns

    def woken(self, now_ns: int) -> None:
        """The gateway knows."""
        self.held = 0
        self._woken_ns = now_ns
