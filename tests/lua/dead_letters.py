"""A driven queue whose jobs become dead letters, the queue that gets them, and the calls in between."""

from __future__ import annotations

from typing import Any

from tests.lua.driven_queue import DrivenQueue

PATIENCE_MS = 60_000
DLQ = "dead"

Letter = dict[str, str]


def configure(driven: DrivenQueue, name: str = DLQ, max_retries: int | bool = False) -> None:
    """Name the queue's dead letter queue."""
    assert driven.call("set_dead_letter_queue", dead_letters=[name, max_retries]) == [b"ok"]


def outbox(driven: DrivenQueue) -> list[Letter]:
    """The letters on their way."""
    rows = driven.client.xrange(driven.key("x-py:dead-letters"))
    return [{name.decode(): value.decode() for name, value in fields.items()} for _, fields in rows]


def fail_one(driven: DrivenQueue) -> str:
    """Let a job fail for good; its id."""
    job_id = driven.add()
    driven.fail(driven.start_one(), reason="boom")
    return job_id


def take(driven: DrivenQueue, token: str = "c1", **arguments: Any) -> list[Any]:
    """Read the outbox."""
    return driven.call("take_dead_letters", **{"token": token, "lease_ms": 5000, "limit": 100, **arguments})


def letter_row(number: int, *, original: str = "1", data: str = '{"a":1}') -> list[Any]:
    """A letter of the queue `source` as its dead letter queue takes it."""
    start = f'{{"originalQueue":"source","originalJobId":"{original}","data":{data}'
    envelope = start + ',"failedReason":"boom","attemptsMade":1}'
    return [f"1000-{number}", original, "greet", envelope, False, '{"attempts":2}', "ValueError", "boom"]


def arrive(dead: DrivenQueue, *rows: list[Any], oldest: str = "0-0", read_at: int | None = None) -> list[Any]:
    """Bring letters of the queue `source`."""
    at = dead.now if read_at is None else read_at
    return dead.call("add_dead_letters", source="source", read_at=at, oldest=oldest, letters=list(rows))


def replay(
    driven: DrivenQueue, letter: str = "dead:1:5", *, read_at: int | None = None, **row: Any
) -> list[Any]:
    """Make a job of a letter."""
    at = driven.now if read_at is None else read_at
    return driven.call("replay_dead_letter", letter=letter, read_at=at, jobs=[driven.row(**row)])
