"""What a dead letter queue tells about the jobs that are in it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from glidemq.commands.get_replays import ReplayCounts
from glidemq.commands.list_dead_letters import BriefLetter
from glidemq.job import Job

MOST_CLASSES = 20
OTHERS = "(others)"
MAX_CLASS_CHARACTERS = 100

_ENDS = (
    (re.compile(r"^expired$"), "expired"),
    (re.compile(r"^Job timeout exceeded$"), "timeout"),
    (re.compile(r"^job stalled more than "), "stalled"),
    (re.compile(r"^malformed job: "), "malformed job"),
    (re.compile(r"^worker process killed by (\w+) "), r"killed by \1"),
)
# What differs between failures of one kind: quoted values, addresses and other numbers.
_PARTICULARS = re.compile(r"'[^']*'|\"[^\"]*\"|\b0x[0-9a-fA-F]+\b|\b[0-9a-fA-F]{8,}\b|\d+")


@dataclass(frozen=True, slots=True)
class FailureClass:
    """Failures of one kind. name: the exception's class, what ended the job otherwise, or the message without its
    particulars. count: among the letters that were looked at. newest: when the last of them arrived.
    samples: the newest of them; their `data` holds the input (`data["data"]`) and the reason.
    """

    name: str
    count: int
    newest: datetime
    samples: list[Job[Any, Any]]


@dataclass(frozen=True, slots=True)
class ReplayStatistics:
    """How replays ended, since ever. unended: jobs of replays that run, wait, or were removed."""

    made: int
    completed: int
    failed: int
    unended: int

    @property
    def success_rate(self) -> float | None:
        """The share of those ended that completed, 0 to 1; None before the first one has ended."""
        ended = self.completed + self.failed
        return self.completed / ended if ended else None


@dataclass(frozen=True, slots=True)
class DeadLetterSummary:
    """A look at the dead letters of one queue, or at all those in a dead letter queue.

    queue: where they lie; None when no dead letter queue is configured, and this is none itself.
    looked_at: the newest letters, that many, are what `classes` and `sources` tell of. complete: those are all.
    sources: whose jobs they were, the name of the queue and how many.
    oldest: when the oldest letter arrived, and oldest_age its age in seconds; None without letters.
    on_the_way: failed jobs that the dead letter queue has not got yet. lost: those that it never will, since nobody
    could carry them over for too long; they are among the failed jobs. These two and `replays` concern the queue that
    was asked: a dead letter queue does not know them of its sources.
    """

    queue: str | None
    looked_at: int
    complete: bool
    classes: list[FailureClass]
    sources: dict[str, int]
    oldest: datetime | None
    oldest_age: float | None
    replays: ReplayStatistics
    on_the_way: int
    lost: int


def statistics_from(counts: ReplayCounts) -> ReplayStatistics:
    """The part of the counts that concerns replays."""
    return ReplayStatistics(counts.made, counts.completed, counts.failed, counts.unended)


def failure_class(error: str, reason: str) -> str:
    """The kind of a failure with this exception name, "" if unknown, and this reason."""
    if error and error != TimeoutError.__name__:
        return error
    for pattern, name in _ENDS:
        found = pattern.match(reason)
        if found:
            return found.expand(name)
    return error or _PARTICULARS.sub("…", reason)[:MAX_CLASS_CHARACTERS].strip() or "(no reason)"


def classified(letters: Iterable[BriefLetter]) -> dict[str, list[BriefLetter]]:
    """The letters by kind of failure, the most frequent first; rare kinds beyond the twentieth together."""
    kinds: dict[str, list[BriefLetter]] = {}
    for letter in letters:
        kinds.setdefault(failure_class(letter.error, letter.reason), []).append(letter)
    ordered = sorted(kinds.items(), key=lambda kind: -len(kind[1]))
    result = dict(ordered[:MOST_CLASSES])
    for _, rest in ordered[MOST_CLASSES:]:
        result.setdefault(OTHERS, []).extend(rest)
    return result


def instant(timestamp_ms: int) -> datetime:
    """An aware datetime."""
    return datetime.fromtimestamp(timestamp_ms / 1000, UTC)
