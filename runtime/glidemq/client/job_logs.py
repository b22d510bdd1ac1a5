"""What a job has logged."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class JobLogs:
    """Some lines of a job's log, oldest first, and the number of lines in all of it."""

    logs: list[str]
    count: int
