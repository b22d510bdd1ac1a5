"""How an operation that both kinds of jobs have is written: as a generator, without the waiting; and who waits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeVar

from glidemq.commands.command import Command

R = TypeVar("R")


class Pause(NamedTuple):
    """A step that is no command: let so many seconds pass."""

    seconds: float


Steps: TypeAlias = Generator[Command[Any] | Pause, Any, R]
"""Yields commands and is sent their results, or is thrown what they raise; and yields pauses. A driver waits."""


class Executor(Protocol):
    """What a job needs of a connection."""

    async def execute(self, command: Command[R], /) -> R:
        """Execute one command."""
        ...


async def drive(steps: Steps[R], connection: Executor) -> R:
    """Carry out the steps, awaiting each; what they return."""
    try:
        step = next(steps)
        while True:
            if isinstance(step, Pause):
                await asyncio.sleep(step.seconds)
                step = next(steps)
                continue
            try:
                result = await connection.execute(step)
            except Exception as error:
                step = steps.throw(error)
            else:
                step = steps.send(result)
    except StopIteration as end:
        value: R = end.value
        return value


def drive_blocking(steps: Steps[R], execute: Callable[[Command[Any]], Any]) -> R:
    """Carry out the steps on this thread; what they return."""
    try:
        step = next(steps)
        while True:
            if isinstance(step, Pause):
                time.sleep(step.seconds)
                step = next(steps)
                continue
            try:
                result = execute(step)
            except Exception as error:
                step = steps.throw(error)
            else:
                step = steps.send(result)
    except StopIteration as end:
        value: R = end.value
        return value
