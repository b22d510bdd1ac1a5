"""The run in whose processor some code is being executed, for functions that are not given the job."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, NamedTuple


class Surroundings(NamedTuple):
    """How code inside a processor reaches the server.

    prefix: what all keys start with. execute: executes a command: at once and for its result in a plain function
    (`blocking`), else by being awaited.
    """

    prefix: str
    execute: Callable[[Any], Any]
    blocking: bool


_surroundings: ContextVar[Surroundings | None] = ContextVar("glidemq-surroundings", default=None)

enter = _surroundings.set
surroundings = _surroundings.get
