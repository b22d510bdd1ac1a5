"""Report what a job's calls to models have used."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from glidemq.commands.command import Command, pack
from glidemq.commands.fragments import CALL_VERSION
from glidemq.commands.status import expect_ok, status_of
from glidemq.options.usage import UsageReport


class UsageRefusal(Enum):
    """Why nothing was taken down."""

    MISSING = auto()
    """The job was removed."""
    LEASE_LOST = auto()
    """Somebody else has started the job since."""
    BUSY = auto()
    """A Node client is writing the same fields: again in a moment."""


@dataclass(frozen=True, slots=True)
class UsageReported:
    """The job's usage from now on, as JSON, and whether this was the first report of its minute."""

    usage: bytes
    opens_bucket: bool


class ReportUsageCommand(Command[UsageReported | UsageRefusal]):
    """Takes a report down, in place of what the same run of the job has reported before.

    token: of the run that reports; empty for whoever ran the job last.
    """

    function = "gmq_report_usage"
    replayable = True  # a repetition replaces itself and only repeats the event

    __slots__ = ("events", "job_id", "report", "token")

    def __init__(
        self, queue_key: str, *, job_id: str, token: bytes, report: UsageReport, events: bool = True
    ) -> None:
        super().__init__(queue_key)
        self.job_id = job_id
        self.token = token
        self.report = report
        self.events = events

    def arguments(self) -> bytes:
        return pack(
            {
                "v": CALL_VERSION,
                "id": self.job_id,
                "token": self.token or False,
                "usage": self.report.usage,
                "tokens": self.report.tokens,
                "costs": self.report.costs,
                "events": self.events,
            }
        )

    def parse_reply(self, reply: list[Any]) -> UsageReported | UsageRefusal:
        refusal = _REFUSALS.get(status_of(reply))
        if refusal is not None:
            return refusal
        expect_ok(self.function, reply)
        return UsageReported(reply[1], reply[2] == 1)


_REFUSALS = {
    "missing": UsageRefusal.MISSING,
    "lease_lost": UsageRefusal.LEASE_LOST,
    "busy": UsageRefusal.BUSY,
}
