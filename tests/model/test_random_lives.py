"""Random lives of one queue, by theme: whatever people and hosts do, in whatever order, what is promised holds.

The rules act on the server library at a time that only the test moves; after every step the server's structures are
held against the model's books, and at the end everything that is left has to run.
"""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import valkey
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from tests.lua.conftest import Call
from tests.model.families import Families
from tests.model.final_run import FinalRun
from tests.model.groups import Groups
from tests.model.producers import Producers
from tests.model.profiles import PATIENCE, lives

pytestmark = pytest.mark.timeout(PATIENCE)


class QueueLives(Producers, FinalRun):
    """Every kind of job but those that others hold up."""


class GroupLives(Groups, Producers, FinalRun):
    """The same, with groups of every kind of limit."""

    group_settings: ClassVar[dict[str, dict[str, Any]]] = {
        "one": {"concurrency": 1},
        "window": {"concurrency": 2, "rate": (2, 500)},
        "bucket": {"concurrency": 3, "bucket": (5_000, 4_000)},
    }


class StrictGroupLives(Groups, Producers, FinalRun):
    """One group at a time that has all limits."""

    group_settings: ClassVar[dict[str, dict[str, Any]]] = {
        "strict": {"concurrency": 1, "rate": (2, 500), "bucket": (5_000, 4_000)},
    }


class FamilyLives(Families, Producers, FinalRun):
    """The same, with parents that wait for their children."""


class AllLives(Families, GroupLives):
    """Everything at once."""


def _live(machine: type[RuleBasedStateMachine], raw: valkey.Valkey, call: Call, how: settings) -> None:
    ready: Any = type(machine.__name__, (machine,), {"client": raw, "call": staticmethod(call)})
    run_state_machine_as_test(ready, settings=how)


def test_random_lives_of_a_queue(raw: valkey.Valkey, call: Call) -> None:
    _live(QueueLives, raw, call, lives(40, 50))


def test_random_lives_of_groups(raw: valkey.Valkey, call: Call) -> None:
    _live(GroupLives, raw, call, lives(40, 50))


def test_random_lives_of_a_group_with_all_limits(raw: valkey.Valkey, call: Call) -> None:
    _live(StrictGroupLives, raw, call, lives(30, 50))


def test_random_lives_of_families(raw: valkey.Valkey, call: Call) -> None:
    _live(FamilyLives, raw, call, lives(30, 50))


def test_random_lives_of_everything(raw: valkey.Valkey, call: Call) -> None:
    _live(AllLives, raw, call, lives(30, 50))
