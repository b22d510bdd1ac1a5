"""What jobs do whose processor is a plain function; the twins of `coroutine_deeds`, by the same names."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from glidemq import GroupRateLimitError, RateLimitError, SyncJob, UnrecoverableError
from tests.testkit.effects import gate_is_open, is_first

# -- what asks nothing of the server: coroutines do it in the same way -----------------------------------------


def echo(job: Any) -> Any:
    return job.data


def fail_once(job: Any) -> Any:
    if job.attempts_made == 0:
        raise RuntimeError("the first time")
    return job.data


def fail(_job: Any) -> None:
    raise UnrecoverableError("always")


def fail_until_open(job: Any) -> None:
    if not gate_is_open(job.data):
        raise UnrecoverableError("not yet")


def pause_group(job: Any) -> None:
    if is_first(f"pause-{job.queue_name}-{job.timestamp}"):
        raise GroupRateLimitError(job.data)


def hit_limit(job: Any) -> str:
    if is_first(f"limit-{job.queue_name}-{job.timestamp}"):
        raise RateLimitError(job.data)
    return "let in"


# -- what a coroutine would await ------------------------------------------------------------------------------


def report(job: SyncJob[Any, Any]) -> str:
    job.log("a line")
    job.update_progress(50)
    job.update_data("new data")
    return "reported"


def call_model(job: SyncJob[Any, Any]) -> str:
    """Report, stream, and fail the first time."""
    model = job.current_fallback.model if job.current_fallback is not None else "primary"
    job.report_usage(model=model, tokens={"output": 10}, costs={"total": 0.5}, cost_unit="usd")
    for number in range(20):
        job.stream({"t": str(number)})
    if job.attempts_made == 0:
        raise RuntimeError("the first time")
    return model


def until_aborted(job: SyncJob[Any, Any]) -> None:
    while not job.abort_signal.aborted:
        time.sleep(0.005)


def until_open(job: SyncJob[Any, Any]) -> Any:
    """Wait for the test to open the gate that the data names."""
    while not gate_is_open(job.data):
        time.sleep(0.005)
    return job.data


def ask(job: SyncJob[Any, Any]) -> Any:
    """Wait for a signal; for one second if the data says so."""
    if not job.signals:
        job.suspend(reason="a question", timeout=1 if job.data == "in a hurry" else 600)
    return [[signal.name, signal.data] for signal in job.signals]


def embed(job: SyncJob[Any, Any]) -> None:
    job.store_vector("embedding", job.data["vector"], {"kind": job.data["kind"]})


def take_steps(job: SyncJob[Any, Any]) -> str:
    if "step" not in job.data:
        job.move_to_delayed(time.time() + 0.1, next_step="paid")
    return str(job.data["step"])


def be_deaf(_job: SyncJob[Any, Any]) -> None:
    time.sleep(3600)


ALIKE: dict[str, Callable[[Any], Any]] = {
    deed.__name__: deed for deed in (echo, fail_once, fail, fail_until_open, pause_group, hit_limit)
}
DEEDS: dict[str, Callable[[Any], Any]] = ALIKE | {
    deed.__name__: deed
    for deed in (report, call_model, until_aborted, until_open, ask, embed, take_steps, be_deaf)
}
