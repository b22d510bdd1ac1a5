"""What the cell says and counts about the work that passes through it."""

from __future__ import annotations

import logging
from collections import Counter

from glidemq.clock import monotonic_ns
from glidemq.commands.answer_budgets import RefusedByBudget
from glidemq.commands.fail import FAILED
from glidemq.commands.release import ENDED_ON_PURPOSE
from glidemq.commands.step import LEASE_LOST
from glidemq.errors import ConnectionError, GlideMQError
from glidemq.pipeline.completer import Outcome
from glidemq.pipeline.lease import Lease

log = logging.getLogger("glidemq.cell")

# During an outage every call fails many times a second; say so this often.
TROUBLE_EVERY_NS = 5_000_000_000


class CellObserver:
    """Counts settlements by code, and logs what an operator must know, once."""

    def __init__(self) -> None:
        self.codes: Counter[int] = Counter()
        self._away_since_ns = 0
        self._last_trouble_log_ns = 0

    def settled(self, outcome: Outcome, code: int) -> None:
        """Count; warn when an outcome was refused."""
        self.codes[code] += 1
        if code == LEASE_LOST and outcome.lease is not None:
            log.warning(
                "refused the outcome of job %s of queue %r: its lease was lost while it ran; another run decides",
                outcome.lease.id.decode(errors="replace"),
                outcome.lease.pump.queue,
            )

    def released(self, lease: Lease, code: int, crash_reason: str | bool | None) -> None:
        """Say when a job was given up for crashing its process, or since it was revoked."""
        if code != FAILED:
            return
        name, queue = lease.id.decode(errors="replace"), lease.pump.queue
        if isinstance(crash_reason, str) and crash_reason != ENDED_ON_PURPOSE:
            log.error("job %s of queue %r failed for good: it killed its process too often", name, queue)
        else:
            log.info("job %s of queue %r was revoked: it has failed instead of running again", name, queue)

    def stalled(self, queue: str, job_id: bytes, what: str) -> None:
        """Say that a job was taken from a holder that gave no sign of life."""
        log.warning(
            "job %s of queue %r had no heartbeat within its lock: %s",
            job_id.decode(errors="replace"),
            queue,
            "it runs again" if what == "stalled" else what,
        )

    def refused(self, refused: RefusedByBudget) -> None:
        """A job of a queue that is served here cannot start: the budget of its flow has no room for it."""

    def troubled(self, queue: str, error: Exception) -> None:
        """Say what keeps a call from being answered, and nothing more for a while."""
        now_ns = monotonic_ns()
        if isinstance(error, ConnectionError) and not self._away_since_ns:
            self._away_since_ns = now_ns
        if now_ns - self._last_trouble_log_ns > TROUBLE_EVERY_NS:
            self._last_trouble_log_ns = now_ns
            defect = None if isinstance(error, GlideMQError) else error
            log.warning(
                "queue %r: %s; work in progress is kept and the call is repeated",
                queue,
                error,
                exc_info=defect,
            )

    def recovered(self) -> None:
        """Say, once, that the server answers again."""
        if self._away_since_ns:
            seconds = (monotonic_ns() - self._away_since_ns) / 1e9
            self._away_since_ns = 0
            log.warning("the server answers again after %.1f s; all leases were renewed first", seconds)
