"""The Python side of a command, executed on a driven queue at the time that the test sets."""

from __future__ import annotations

from typing import Any, TypeVar

from glidemq.commands.command import Command, unpack
from tests.lua.driven_queue import DrivenQueue

R = TypeVar("R")


def execute(driven: DrivenQueue, command: Command[R]) -> R:
    """The command's result, or the error that it raises."""
    arguments = {name.decode(): value for name, value in unpack(command.arguments()).items()}
    return command.parse_reply(driven.call(command.function.removeprefix("gmq_"), **arguments))


def execute_all(driven: DrivenQueue, command: Command[Any]) -> list[Any]:
    """The results of a command and of all that follow it."""
    results: list[Any] = []
    following: Command[Any] | None = command
    while following is not None:
        results.append(execute(driven, following))
        following = results[-1].following
        assert len(results) < 1000
    return results
