"""How an operation that both kinds of jobs have is written: as a generator, without the waiting."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, NamedTuple, TypeAlias, TypeVar

from glidemq.commands.command import Command

R = TypeVar("R")


class Pause(NamedTuple):
    """A step that is no command: let so many seconds pass."""

    seconds: float


Steps: TypeAlias = Generator[Command[Any] | Pause, Any, R]
"""Yields commands and is sent their results, and yields pauses; whoever drives it does the waiting."""
