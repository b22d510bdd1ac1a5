"""However many processes serve a queue, no more of its jobs start per window than its global rate limit allows."""

from __future__ import annotations

from tests.lua.driven_queue import DrivenQueue
from tests.promises.conftest import RunHosts

HOSTS = 4
JOBS = 60
LIMIT = 10
WINDOW_MS = 150


def starts_per_window(starts: list[int]) -> list[int]:
    """A window opens with the first start after the one before it has ended."""
    counts: list[int] = []
    opened = 0
    for start in sorted(starts):
        if not counts or start - opened >= WINDOW_MS:
            opened = start
            counts.append(0)
        counts[-1] += 1
    return counts


def test_global_rate_limit_is_used_up_and_never_exceeded_by_many_processes(
    driven: DrivenQueue, run_hosts: RunHosts
) -> None:
    driven.call("set_global_rate_limit", max=LIMIT, duration_ms=WINDOW_MS)
    kinds = [driven.row(), driven.row(lifo=1), driven.row(priority=5)]
    driven.enqueue(*kinds * (JOBS // len(kinds)), now=None)
    seen = run_hosts(driven.name, hosts=HOSTS, jobs=JOBS)
    finished = [job_id for host in seen for job_id in host["finished"]]
    assert sorted(map(int, finished)) == list(range(1, JOBS + 1))
    counts = starts_per_window([int(driven.job(job_id)["processedOn"]) for job_id in finished])
    assert max(counts) == LIMIT
    assert len(counts) >= JOBS // LIMIT
