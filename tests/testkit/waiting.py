"""Waiting for conditions, never for a fixed time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE_S = 30.0
POLL_S = 0.01


def wait_until(condition: Callable[[], T], what: str, within_s: float = PATIENCE_S) -> T:
    """The first true value of `condition`; AssertionError with `what` when there is none in time."""
    deadline = time.monotonic() + within_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {what}"
        time.sleep(POLL_S)
    return value


async def eventually(condition: Callable[[], T | Awaitable[T]], what: str, within_s: float = PATIENCE_S) -> T:
    """As `wait_until`, without holding up the event loop of a test that has clients of its own."""
    deadline = time.monotonic() + within_s
    while True:
        value = condition()
        if isinstance(value, Awaitable):
            value = await value
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {what}"
        await asyncio.sleep(POLL_S)
