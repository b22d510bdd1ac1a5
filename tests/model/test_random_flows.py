"""Random lives of flows over three queues: whatever happens to jobs, letters and people, every parent ends or waits for
somebody, and runs only after its children have ended as their policies say.

The rules act on the server library at a time that only the test moves, and carry the letters between queues themselves:
late, in part, twice. After every step the parents' books, the letters and the budgets are held against the model's own.
"""

from __future__ import annotations

from typing import Any

import pytest
import valkey
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from tests.lua.conftest import Call
from tests.model.flows.final_run import FlowFinalRun
from tests.model.profiles import PATIENCE, lives

pytestmark = pytest.mark.timeout(PATIENCE)


def _live(machine: type[RuleBasedStateMachine], raw: valkey.Valkey, call: Call, how: settings) -> None:
    ready: Any = type(machine.__name__, (machine,), {"client": raw, "call": staticmethod(call)})
    run_state_machine_as_test(ready, settings=how)


def test_random_lives_of_flows(raw: valkey.Valkey, call: Call) -> None:
    _live(FlowFinalRun, raw, call, lives(30, 45))
