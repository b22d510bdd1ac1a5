"""Judges a queue after a test: what the server has stored against what the processors say that they did."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import valkey

from glidemq.commands.keys import QueueKeys
from tests.testkit.effects import History, Run


class QueueOnServer:
    """One queue's keys, read raw. Read by: tests, while the runtime works and afterwards."""

    def __init__(self, client: valkey.Valkey, queue: str, prefix: str = "glide") -> None:
        self.client: Any = client
        self.keys = QueueKeys(prefix, queue)
        self.queue = queue

    def job(self, job_id: str) -> dict[str, str]:
        fields = self.client.hgetall(self.keys.job(job_id))
        return {name.decode(): value.decode(errors="replace") for name, value in fields.items()}

    def state(self, job_id: str) -> str | None:
        state = self.client.hget(self.keys.job(job_id), "state")
        return state.decode() if state is not None else None

    def terminal(self) -> set[str]:
        """The ids of all jobs that have ended, one way or the other."""
        return self.ids(self.keys.completed) | self.ids(self.keys.failed)

    def ended(self) -> int:
        """How many jobs have ended."""
        return int(self.client.zcard(self.keys.completed) + self.client.zcard(self.keys.failed))

    def log(self, job_id: str) -> list[str]:
        return [line.decode() for line in self.client.lrange(self.keys.log(job_id), 0, -1)]

    def log_length(self, job_id: str) -> int:
        return int(self.client.llen(self.keys.log(job_id)))

    def ids(self, sorted_set: str) -> set[str]:
        return {member.decode() for member in self.client.zrange(sorted_set, 0, -1)}

    def accepted(self, kind: str) -> int:
        """How often the server has accepted an end of this kind (`completed`, `failed`), of whichever job."""
        counters: Mapping[bytes, bytes] = self.client.hgetall(self.keys.metrics(kind))
        return sum(int(value) for name, value in counters.items() if name.endswith(b":c"))

    def pending(self) -> int:
        """Stream jobs in somebody's hands, `py-returned` included."""
        return int(self.client.xpending(self.keys.stream, "workers")["pending"])

    def consumers(self) -> dict[str, int]:
        """Who reads the stream, and how many entries each holds."""
        if not self.client.exists(self.keys.stream):
            return {}
        rows = self.client.xinfo_consumers(self.keys.stream, "workers")
        return {row["name"].decode(): int(row["pending"]) for row in rows}

    def returned(self) -> int:
        """Stream jobs that wait in front of all others because somebody gave them back."""
        return self.consumers().get("py-returned", 0)

    def unfinished(self) -> dict[str, int]:
        """Where jobs still are, by key; empty when the queue is settled."""
        client = self.client
        places = {
            "stream": client.xlen(self.keys.stream),
            "scheduled": client.zcard(self.keys.scheduled),
            "priority": client.llen(self.keys.priority),
            "lifo": client.llen(self.keys.lifo),
            "list-active": int(client.get(self.keys.list_active) or 0),
        }
        for key in client.scan_iter(self.keys.list_active_of("*").replace("{", "[{]").replace("}", "[}]")):
            places[key.decode()] = client.zcard(key)
        return {place: count for place, count in places.items() if count}


def check(
    server: QueueOnServer,
    history: History,
    acked: Iterable[str],
    *,
    failed: Collection[str] = (),
    rerun: Collection[str] | None = (),
    attempts_made: Mapping[str, int] | None = None,
    doubtful: Collection[str] = (),
) -> None:
    """Everything that must hold once the queue is at rest.

    Every acked job ended exactly once, in the state that is expected (`completed`, or `failed` for those named);
    nothing is left in any place of the queue; the server accepted one end per job; the result stored is that of
    the run whose token the job bears; no attempt was charged beyond `attempts_made` (0 where not named); nobody
    ran twice but those in `rerun` (None: anybody may have). `doubtful` jobs may exist; if so, the same holds for them.
    """
    acked = list(acked)
    assert len(acked) == len(set(acked)), (
        f"ids given twice: {[i for i, n in Counter(acked).items() if n > 1]}"
    )
    keys = server.keys
    acked += [job_id for job_id in doubtful if server.client.exists(keys.job(job_id))]
    expected = set(acked)
    completed_ids, failed_ids = server.ids(keys.completed), server.ids(keys.failed)
    assert completed_ids | failed_ids == expected, (
        f"lost: {sorted(expected - completed_ids - failed_ids)[:20]}, "
        f"invented: {sorted((completed_ids | failed_ids) - expected)[:20]}"
    )
    assert not completed_ids & failed_ids
    assert failed_ids == set(failed)
    assert server.unfinished() == {}
    assert server.accepted("completed") == len(completed_ids), "a completion was accepted twice"
    assert server.accepted("failed") == len(failed_ids), "a failure was accepted twice"
    by_job = history.by_job(server.queue)
    assert set(by_job) <= expected, "a job ran that nobody has added"
    for job_id in acked:
        job = server.job(job_id)
        runs = by_job.get(job_id, [])
        assert job["state"] == ("failed" if job_id in failed_ids else "completed"), job
        assert int(job.get("attemptsMade", 0)) == (attempts_made or {}).get(job_id, 0), (job, runs)
        if job_id in completed_ids:
            _check_result(job, runs)
        if rerun is not None and job_id not in rerun:
            assert len(runs) <= 1 + (attempts_made or {}).get(job_id, 0), f"job {job_id} ran again: {runs}"


def _check_result(job: Mapping[str, str], runs: list[Run]) -> None:
    finished = {run.token for run in runs if run.ended is not None}
    result = json.loads(job["returnvalue"])
    assert result["token"] in finished, f"a result from nowhere: {job}, {runs}"
    assert job["x-py:run"] == "-" + result["token"], f"the result is not that of the accepted run: {job}"
