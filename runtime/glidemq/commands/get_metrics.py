"""Read how many jobs finished in each minute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from glidemq.commands.command import Command, pack
from glidemq.commands.index_range import check_range
from glidemq.commands.status import expect_ok
from glidemq.errors import ValidationError

METRIC_KINDS = ("completed", "failed")


@dataclass(frozen=True, slots=True)
class MinuteMetrics:
    """One minute: its start in epoch ms, the jobs that finished in it, and how long they ran on average."""

    minute_ms: int
    count: int
    average_ms: int


@dataclass(frozen=True, slots=True)
class QueueMetrics:
    """The number of jobs kept in the state, and the minutes asked for, oldest first; empty ones are left out."""

    kept: int
    minutes: Sequence[MinuteMetrics]


class GetMetricsCommand(Command[QueueMetrics]):
    """The minutes of the last 24 hours in which jobs completed or failed.

    Of these minutes in order, those at the positions start..end, both inclusive; negative ones count from the
    end. Source: features page, section 8.
    """

    function = "gmq_get_metrics"
    replayable = True

    __slots__ = ("end", "kind", "start")

    def __init__(self, queue_key: str, *, kind: str, start: int = 0, end: int = -1) -> None:
        super().__init__(queue_key)
        check_range(start, end)
        if kind not in METRIC_KINDS:
            raise ValidationError(f"metrics are kept of {' and '.join(METRIC_KINDS)} jobs, not of {kind!r}")
        self.kind = kind
        self.start = start
        self.end = end

    def arguments(self) -> bytes:
        return pack({"v": 1, "kind": self.kind})

    def parse_reply(self, reply: list[Any]) -> QueueMetrics:
        expect_ok(self.function, reply)
        _, kept, rows = reply
        minutes = [
            MinuteMetrics(int(minute_ms), count, round(duration_ms / count) if count else 0)
            for minute_ms, count, duration_ms in sorted(rows)
        ]
        first = self.start if self.start >= 0 else max(len(minutes) + self.start, 0)
        last = self.end if self.end >= 0 else len(minutes) + self.end
        return QueueMetrics(kept, minutes[first : last + 1] if last >= 0 else [])
