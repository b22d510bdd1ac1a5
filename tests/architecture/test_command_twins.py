"""Every command of the server library has the same stem in three places: Lua, Python and the Lua tests."""

from __future__ import annotations

import importlib
import inspect

import pytest

from glidemq.commands.command import Command
from tests.architecture.repository import ROOT

LUA = {file.stem: file for file in sorted((ROOT / "lua/glidemq_lua/src/commands").glob("*.lua"))}
# Asked by the library loader before any command can work; it has no keys and no arguments.
WITHOUT_COMMAND = frozenset({"version"})
TWINS = sorted(set(LUA) - WITHOUT_COMMAND)


def commands_of(stem: str) -> list[type[Command[object]]]:
    module = importlib.import_module(f"glidemq.commands.{stem}")
    return [
        value
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, Command)
        and not inspect.isabstract(value)
        and value.__module__ == module.__name__
    ]


def test_the_library_has_commands_at_all() -> None:
    assert {"enqueue", "step", "fail", "release", "recover_stalled", "promote_due"} <= set(TWINS)


@pytest.mark.parametrize("stem", TWINS)
def test_command_is_called_by_exactly_one_python_twin(stem: str) -> None:
    assert [command.function for command in commands_of(stem)] == [f"gmq_{stem}"]


@pytest.mark.parametrize("stem", sorted(LUA))
def test_command_has_lua_tests_of_its_own(stem: str) -> None:
    assert (ROOT / f"tests/lua/test_{stem}.py").is_file()


def test_every_python_command_has_its_lua_twin() -> None:
    stems = {file.stem for file in (ROOT / "runtime/glidemq/commands").glob("*.py")} - {"__init__"}
    assert {stem for stem in stems if commands_of(stem)} == set(TWINS)
