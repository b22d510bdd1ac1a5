"""The error for a change that a job's state does not allow."""

from __future__ import annotations

from glidemq.errors import JobNotFoundError, JobStateError

# The reasons of wire-format 3.20, and those of the changes that it does not name.
REASONS = frozenset(
    {"invalid_state", "not_delayed", "not_failed", "not_in_scheduled", "not_in_stream"},
)
NOT_FOUND = "not_found"


def refusal(action: str, status: str) -> JobNotFoundError | JobStateError | None:
    """`Cannot <action>: <status>` if this status is a refusal, else None; nothing was changed then."""
    if status == NOT_FOUND:
        return JobNotFoundError(f"Cannot {action}: {status}")
    if status in REASONS:
        return JobStateError(f"Cannot {action}: {status}")
    return None
