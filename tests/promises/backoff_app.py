"""Processors that fail as they are told, with waits between attempts of their own."""

from __future__ import annotations

from typing import Any

from glidemq import App, Job, SyncJob


class BusyError(Exception):
    """What a service says that wants to be left alone for a while."""

    def __init__(self, retry_after: float) -> None:
        super().__init__("busy")
        self.retry_after = retry_after


def as_told(attempts_made: int, error: BaseException) -> float:
    """The documents' example: respect what the service asked for."""
    return error.retry_after if isinstance(error, BusyError) else attempts_made * 3


def broken(attempts_made: int, error: BaseException) -> float:
    raise KeyError("a mistake in the strategy")


STRATEGIES = {"as-told": as_told, "broken": broken}

app = App()


@app.processor("sync-calls", backoff_strategies=STRATEGIES)
def call(job: SyncJob[Any, Any]) -> str:
    if job.attempts_made < job.data["failures"]:
        raise BusyError(job.data["retry_after"])
    return "answer"


@app.processor("async-calls", backoff_strategies=STRATEGIES)
async def call_async(job: Job[Any, Any]) -> str:
    if job.attempts_made < job.data["failures"]:
        raise BusyError(job.data["retry_after"])
    return "answer"
