"""The processors that the benchmarks run, one app each, so that a supervisor starts only what is measured."""

from __future__ import annotations

import time
from typing import Any

from glidemq import App, Job, TokenLimiter
from glidemq_bench.spin import spin

TOKENS_OF_JOB = 100
NEAR_TOKENS, NEAR_WINDOW_S = 200_000, 1

noop = App()
noop_async = App()
far = App()
near = App()
busy = App()
started = App()
started_async = App()
streams = App()

TOKEN = "hello"


@noop.processor("noop")
def do_nothing(job: Job[Any, None]) -> None:
    """The smallest job: what is measured is everything around it."""


@noop_async.processor("noop", concurrency=50)
async def do_nothing_async(job: Job[Any, None]) -> None:
    """The same as a coroutine, 50 at a time in each actor process."""


@far.processor("noop", concurrency=50, token_limiter=TokenLimiter(10**10, 60), estimated_tokens=TOKENS_OF_JOB)
async def do_nothing_far_from_the_limit(job: Job[Any, None]) -> None:
    """The same under a limit that is never reached."""


@near.processor(
    "near",
    concurrency=50,
    token_limiter=TokenLimiter(NEAR_TOKENS, NEAR_WINDOW_S),
    estimated_tokens=TOKENS_OF_JOB,
)
async def do_nothing_near_the_limit(job: Job[Any, None]) -> None:
    """The same under a limit that is always reached."""


@busy.processor("busy")
def compute(job: Job[Any, int]) -> int:
    """A CPU-bound job of a fixed amount of work."""
    return spin(job.data["loops"])


@started.processor("started")
def note_start(job: Job[Any, int]) -> int:
    """Nanoseconds from `added_ns` to this line, on the monotonic clock that all processes share."""
    return time.monotonic_ns() - int(job.data["added_ns"])


@started_async.processor("started", concurrency=50)
async def note_start_async(job: Job[Any, int]) -> int:
    """The same on an event loop."""
    return time.monotonic_ns() - int(job.data["added_ns"])


@streams.processor("streams", concurrency=200)
async def put_out(job: Job[Any, None]) -> None:
    """A model that answers as fast as its answer can be stored."""
    for _ in range(job.data["tokens"]):
        await job.stream({"t": TOKEN})
