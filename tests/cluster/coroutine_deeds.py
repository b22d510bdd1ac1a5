"""What jobs do whose processor is a coroutine function; `plain_deeds` has the twins."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from glidemq import Job
from tests.testkit.effects import gate_is_open


async def tell_token(job: Job[Any, Any]) -> dict[str, str]:
    """Which run this was, after so many seconds: what `testkit.checker` compares with the server's books."""
    await asyncio.sleep(job.data)
    return {"token": job.token.decode()}


async def report(job: Job[Any, Any]) -> str:
    await job.log("a line")
    await job.update_progress(50)
    await job.update_data("new data")
    return "reported"


async def call_model(job: Job[Any, Any]) -> str:
    """Report, stream, and fail the first time."""
    model = job.current_fallback.model if job.current_fallback is not None else "primary"
    await job.report_usage(model=model, tokens={"output": 10}, costs={"total": 0.5}, cost_unit="usd")
    for number in range(20):
        await job.stream({"t": str(number)})
    if job.attempts_made == 0:
        raise RuntimeError("the first time")
    return model


async def until_aborted(job: Job[Any, Any]) -> None:
    await job.abort_signal.wait()


async def until_open(job: Job[Any, Any]) -> Any:
    """Wait for the test to open the gate that the data names."""
    while not gate_is_open(job.data):
        await asyncio.sleep(0.005)
    return job.data


async def ask(job: Job[Any, Any]) -> Any:
    """Wait for a signal; for one second if the data says so."""
    if not job.signals:
        await job.suspend(reason="a question", timeout=1 if job.data == "in a hurry" else 600)
    return [[signal.name, signal.data] for signal in job.signals]


async def embed(job: Job[Any, Any]) -> None:
    await job.store_vector("embedding", job.data["vector"], {"kind": job.data["kind"]})


async def take_steps(job: Job[Any, Any]) -> str:
    if "step" not in job.data:
        await job.move_to_delayed(time.time() + 0.1, next_step="paid")
    return str(job.data["step"])


async def be_deaf(_job: Job[Any, Any]) -> None:
    await asyncio.sleep(3600)


DEEDS: dict[str, Callable[[Job[Any, Any]], Awaitable[Any]]] = {
    deed.__name__: deed
    for deed in (tell_token, report, call_model, until_aborted, until_open, ask, embed, take_steps, be_deaf)
}
