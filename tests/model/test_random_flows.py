"""Random lives of flows over three queues: whatever happens to jobs, letters and people, every parent ends or waits for
somebody, and runs only after its children have ended as their policies say.

The rules act on the server library at a time that only the test moves, and carry the letters between queues themselves:
late, in part, twice. After every step the parents' books, the letters and the budgets are held against the model's own.
The server is the only node of a cluster, so that it refuses whatever would touch two slots.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import valkey
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test
from valkey.crc import key_slot

from glidemq.commands.command import pack, unpack
from glidemq_lua import library_source
from tests.model.flows.books import QUEUES
from tests.model.flows.final_run import FlowFinalRun
from tests.model.profiles import PATIENCE, lives
from tests.testkit.server import ValkeyServer, free_port
from tests.testkit.waiting import wait_until

pytestmark = pytest.mark.timeout(PATIENCE)


@pytest.fixture
def node() -> Iterator[valkey.Valkey]:
    """A client of a cluster's only node, with the library."""
    server = ValkeyServer("--cluster-enabled", "yes", "--cluster-port", str(free_port())).start()
    client: Any = server.client()
    client.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
    wait_until(lambda: client.cluster("INFO")["cluster_state"] == "ok", "the cluster is up")
    client.function_load(library_source(), replace=True)
    yield client
    client.close()
    server.stop()


def _live(machine: type[RuleBasedStateMachine], client: Any, how: settings) -> None:
    def call(function: str, queue: str, **arguments: Any) -> Any:
        packed = pack({"v": 1, **arguments})
        return unpack(client.fcall(f"gmq_{function}", 1, f"glide:{{{queue}}}:meta", packed))

    ready: Any = type(machine.__name__, (machine,), {"client": client, "call": staticmethod(call)})
    run_state_machine_as_test(ready, settings=how)


def test_random_lives_of_flows(node: valkey.Valkey) -> None:
    assert [key_slot(name.encode()) for name in QUEUES] == [9436, 9436, 1182]
    _live(FlowFinalRun, node, lives(15, 40))
