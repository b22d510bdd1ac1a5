"""What jobs are expected to use that do not say it: learned, by job name, from those that have ended."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

# As for the round-trip times of TCP: a smoothed mean plus four smoothed deviations is rarely exceeded, and follows a
# changed workload within a few dozen jobs.
MEAN_GAIN = 1 / 8
DEVIATION_GAIN = 1 / 4
DEVIATIONS = 4
# They travel with every call that starts jobs.
MAX_NAMES = 64
# While nothing is known, so many jobs may run in one window.
UNKNOWN_SHARE = 16


class _Samples:
    __slots__ = ("deviation", "mean")

    def __init__(self, first: int) -> None:
        self.mean = float(first)
        self.deviation = first / 2

    def add(self, tokens: int) -> None:
        error = tokens - self.mean
        self.mean += MEAN_GAIN * error
        self.deviation += DEVIATION_GAIN * (abs(error) - self.deviation)

    @property
    def estimate(self) -> int:
        return int(self.mean + DEVIATIONS * self.deviation + 0.999)


class TokenEstimates:
    """Estimates of one queue's jobs, by job name.

    Written by: the queue's gate, for every job that has ended. Read by: its allowances.
    """

    def __init__(self, max_tokens: int) -> None:
        self._unknown = max(max_tokens // UNKNOWN_SHARE, 1)
        self._samples: OrderedDict[bytes, _Samples] = OrderedDict()
        self._by_name: dict[bytes, int] = {}

    @property
    def by_name(self) -> Mapping[bytes, int]:
        """The names that something is known about."""
        return self._by_name

    @property
    def unknown(self) -> int:
        """What a job with another name is taken to use."""
        return self._unknown

    def learn(self, name: bytes, tokens: int) -> None:
        """A job with this name has used so many."""
        samples = self._samples.get(name)
        if samples is None:
            samples = self._samples[name] = _Samples(tokens)
            if len(self._samples) > MAX_NAMES:
                forgotten, _ = self._samples.popitem(last=False)
                del self._by_name[forgotten]
        else:
            samples.add(tokens)
            self._samples.move_to_end(name)
        self._by_name[name] = samples.estimate
