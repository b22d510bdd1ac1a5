"""What the promises are tested with: the server library, a queue, and hosts in processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests.architecture.repository import ROOT
from tests.lua.conftest import call, driven, library, queue
from tests.testkit.server import ValkeyServer

__all__ = ["call", "driven", "library", "queue", "run_hosts"]

RunHosts = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def run_hosts(server: ValkeyServer, library: None) -> RunHosts:
    """`run_hosts(queue, hosts=4, jobs=100)`: several stepping hosts at once; what each of them saw."""

    def run(queue: str, *, hosts: int, jobs: int, given_back: float = 0.0) -> list[dict[str, Any]]:
        arguments = [str(server.socket), queue]
        command = [sys.executable, "-m", "tests.promises.stepping_host", *arguments]
        processes = [
            subprocess.Popen(
                [*command, f"host-{number}", str(jobs), str(given_back)], cwd=ROOT, stdout=subprocess.PIPE
            )
            for number in range(hosts)
        ]
        try:
            replies = [process.communicate(timeout=90)[0] for process in processes]
        finally:
            for process in processes:
                process.kill()
                process.wait()
        assert [process.returncode for process in processes] == [0] * hosts
        return [json.loads(reply) for reply in replies]

    return run
