"""However many processes serve a queue, no more of its jobs run at once than its global concurrency allows."""

from __future__ import annotations

import pytest

from tests.lua.driven_queue import DrivenQueue
from tests.promises.conftest import RunHosts

HOSTS = 4
JOBS = 400


@pytest.mark.parametrize("limit", [1, 5])
def test_global_concurrency_is_reached_and_never_exceeded_by_many_processes(
    driven: DrivenQueue, run_hosts: RunHosts, limit: int
) -> None:
    driven.call("set_global_concurrency", concurrency=limit)
    kinds = [driven.row(), driven.row(lifo=1), driven.row(priority=5), driven.row(priority=1, lifo=1)]
    driven.enqueue(*kinds * (JOBS // len(kinds)), now=None)
    seen = run_hosts(driven.name, hosts=HOSTS, jobs=JOBS, given_back=0.2)
    assert max(host["most_active"] for host in seen) == limit
    finished = [job_id for host in seen for job_id in host["finished"]]
    assert sorted(map(int, finished)) == list(range(1, JOBS + 1))
    assert sum(bool(host["finished"]) for host in seen) > 1
    assert driven.pending() == {} and driven.list_active() == 0
