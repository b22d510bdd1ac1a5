"""How many jobs to hold beyond those that run: enough to hide the round trip, few enough to starve no other host.

Little's law, bounded by a promise: no job is expected to wait in a ring longer than `max_ring_wait`. A job that is
prefetched is active on the server and cannot start elsewhere, so unknown and long jobs are never prefetched.
"""

from __future__ import annotations

from collections import OrderedDict

# A new sample moves the mean by an eighth: a changed workload is followed within a few dozen jobs.
SMOOTHING = 0.125
# A name is trusted after this many finished jobs ...
SAMPLES_TO_TRUST = 4
# ... and after a take-back (its mean misled us), after this many more.
SAMPLES_TO_RELEARN = 64
# Job names are the user's: remember the most recent ones only.
MAX_NAMES = 256
# Rings stay shallow whatever the arithmetic says.
MAX_AHEAD_PER_ACTOR = 96
# What nobody knows may take long.
UNKNOWN_NS = 1_000_000_000


class _Estimate:
    __slots__ = ("last_seen", "mean_ns", "samples_wanted")

    def __init__(self) -> None:
        self.mean_ns = 0.0
        self.samples_wanted = SAMPLES_TO_TRUST
        self.last_seen = 0


class ServiceTimes:
    """Moving averages of the service time of one queue's jobs, by job name.

    Written by: the queue pump, for every finished job. Read by: the work link, when it wants more.
    """

    # Names not seen among this many finished jobs no longer hold the window down.
    RECENT = 512

    def __init__(self) -> None:
        self._estimates: OrderedDict[bytes, _Estimate] = OrderedDict()
        self._finished = 0

    def record(self, name: bytes, service_ns: int) -> None:
        """Learn from one finished job."""
        self._finished += 1
        estimate = self._estimates.get(name)
        if estimate is None:
            estimate = self._estimates[name] = _Estimate()
            estimate.mean_ns = service_ns
            if len(self._estimates) > MAX_NAMES:
                self._estimates.popitem(last=False)
        else:
            estimate.mean_ns += SMOOTHING * (service_ns - estimate.mean_ns)
        estimate.last_seen = self._finished
        if estimate.samples_wanted:
            estimate.samples_wanted -= 1

    def distrust(self, name: bytes) -> None:
        """Note that a job waited too long behind one with this name: no prefetching until it is relearned."""
        estimate = self._estimates.setdefault(name, _Estimate())
        estimate.samples_wanted = SAMPLES_TO_RELEARN
        estimate.last_seen = self._finished
        if len(self._estimates) > MAX_NAMES:
            self._estimates.popitem(last=False)

    def expected_ns(self, name: bytes) -> int:
        """How long a job with this name is expected to run."""
        estimate = self._estimates.get(name)
        return UNKNOWN_NS if estimate is None or estimate.samples_wanted else int(estimate.mean_ns)

    def ahead(self, actors: int, max_wait_ns: int) -> int:
        """How many jobs may wait behind the running ones of `actors` processes; 0 when unsure.

        The slowest of the recently seen names decides, since the next job may bear any of them.
        """
        if not actors or not self._estimates:
            return 0
        slowest_ns = 0.0
        horizon = self._finished - self.RECENT
        for estimate in self._estimates.values():
            if estimate.last_seen < horizon:
                continue
            if estimate.samples_wanted:
                return 0
            slowest_ns = max(slowest_ns, estimate.mean_ns)
        if slowest_ns <= 0:
            return MAX_AHEAD_PER_ACTOR * actors
        return min(int(max_wait_ns / slowest_ns), MAX_AHEAD_PER_ACTOR) * actors
