"""A queue driven through the server library with a clock that only the test moves."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from glidemq.commands.command import unpack
from tests.lua.raw_queue import RawQueue

START_MS = 1_800_000_000_000


class Started(NamedTuple):
    """One activation, texts decoded."""

    id: str
    token: str
    entry_id: str
    name: str
    opts: str
    processed_on: int
    flags: int
    blob: list[Any]

    @property
    def fence(self) -> list[Any]:
        return [self.id, self.token, self.processed_on]

    @property
    def extras(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.blob[10].items()}


class Stepped(NamedTuple):
    """A step's reply."""

    now: int
    outcomes: list[int]
    started: list[Started]
    paused: int
    next_due: int
    more: int
    expired: int
    quarantined: int
    posted: int = 0
    refused: Sequence[Any] = ()

    @property
    def ids(self) -> list[str]:
        return [job.id for job in self.started]


def read_activation(row: list[Any]) -> Started:
    blob, job_id, token, entry_id, name, opts, processed_on, flags = row
    texts = [text.decode() for text in (job_id, token, entry_id, name, opts)]
    return Started(*texts, processed_on, flags, unpack(blob))


class DrivenQueue(RawQueue):
    """Every method is one call of the library at `now`; `pass_time` is the only clock."""

    def __init__(self, client: Any, name: str, call: Callable[..., list[Any]]) -> None:
        super().__init__(client, name)
        self.now = START_MS
        self._call = call
        self._runs = itertools.count(1)

    def call(self, function: str, **arguments: Any) -> list[Any]:
        return self._call(function, self.name, **{"now": self.now, **arguments})

    def pass_time(self, ms: int) -> None:
        self.now += ms

    # -- adding

    @staticmethod
    def row(
        name: str = "n",
        data: str = "{}",
        opts: str = "{}",
        *,
        delay: int = 0,
        priority: int = 0,
        lifo: int = 0,
        ttl: int = 0,
        attempts: int = 0,
        job_id: str | bool = False,
        parent: str | bool = False,
        parent_queue: str | bool = False,
        extra: Any = False,
    ) -> list[Any]:
        return [
            name, data, opts, delay, priority, lifo, ttl, attempts, job_id, parent, parent_queue, extra
        ]  # fmt: skip

    def enqueue(self, *rows: list[Any], **arguments: Any) -> list[Any]:
        return self.call("enqueue", jobs=list(rows), **arguments)

    def add(self, *args: Any, **options: Any) -> str:
        status, ids, _ = self.enqueue(self.row(*args, **options))
        assert status == b"ok"
        text: str = ids[0].decode()
        return text

    # -- running

    def step(self, slots: int = 0, *, ahead: int = 0, consumer: str = "c1", **arguments: Any) -> Stepped:
        defaults = {"cell": consumer, "run": f"run{next(self._runs)}", "complete": [], "claimed": []}
        reply = self.call(
            "step",
            slots=slots,
            ahead=ahead,
            consumer=consumer,
            **{**defaults, "max_bytes": 1 << 20, **arguments},
        )
        assert reply[0] == b"ok", reply
        return Stepped(reply[1], reply[2], [read_activation(row) for row in reply[3]], *reply[4])

    def start(self, count: int = 1, **arguments: Any) -> list[Started]:
        """Start exactly `count` jobs."""
        started = self.step(count, **arguments).started
        assert len(started) == count
        return started

    def start_one(self, **arguments: Any) -> Started:
        return self.start(1, **arguments)[0]

    @staticmethod
    def completion(job: Started, value: str = "null", retain: Any = False) -> list[Any]:
        return [*job.fence, job.entry_id, value, retain]

    def complete(
        self, *jobs: Started, value: str = "null", retain: Any = False, **arguments: Any
    ) -> list[int]:
        rows = [self.completion(job, value, retain) for job in jobs]
        return self.step(complete=rows, **arguments).outcomes

    def fail(
        self,
        *jobs: Started,
        reason: str = "boom",
        max_attempts: int = 0,
        delay: int = 0,
        retain: Any = False,
        **arguments: Any,
    ) -> list[list[int]]:
        rows = [[*job.fence, job.entry_id, reason, max_attempts, delay, retain] for job in jobs]
        reply = self.call("fail", rows=rows, **arguments)
        assert reply[0] == b"ok", reply
        outcomes: list[list[int]] = reply[2]
        return outcomes

    def release(
        self, *jobs: Started, crash: Any = False, max_crashes: int = 3, consumer: str = "c1", **arguments: Any
    ) -> list[int]:
        rows = [[*job.fence, job.entry_id, crash] for job in jobs]
        reply = self.call("release", consumer=consumer, rows=rows, max_crashes=max_crashes, **arguments)
        assert reply[0] == b"ok", reply
        codes: list[int] = reply[2]
        return codes

    def extend(self, *jobs: Started) -> list[int]:
        reply = self.call("extend_leases", rows=[job.fence for job in jobs])
        assert reply[0] == b"ok", reply
        codes: list[int] = reply[2]
        return codes

    def recover_stalled(self, *, max_stalled: int = 1, limit: int = 100, **arguments: Any) -> dict[str, str]:
        """All pages of one pass: id -> what happened."""
        defaults = {"consumer": "c9", "cell": "c9", "stalled_ms": 0, "lock_ms": 30_000}
        recovered: dict[str, str] = {}
        cursor = ""
        while True:
            reply = self.call(
                "recover_stalled",
                **{**defaults, "max_stalled": max_stalled, "limit": limit, "cursor": cursor, **arguments},
            )
            assert reply[0] == b"ok", reply
            recovered |= {job_id.decode(): what.decode() for job_id, what in reply[2]}
            cursor = reply[3].decode()
            if not cursor:
                return recovered

    def recover_orphans(
        self, *known: Started, consumer: str = "c1", limit: int = 100, **arguments: Any
    ) -> list[str]:
        """All pages of one pass: the ids that wait again."""
        released: list[str] = []
        cursor = ""
        while True:
            reply = self.call(
                "recover_orphans",
                consumer=consumer,
                cell=consumer,
                known=[[job.id, job.token] for job in known],
                limit=limit,
                cursor=cursor,
                **arguments,
            )
            assert reply[0] == b"ok", reply
            released += [job_id.decode() for job_id in reply[1]]
            cursor = reply[2].decode()
            if not cursor:
                return released

    def promote_due(self, limit: int = 1000, prioritized_limit: int = 1000) -> tuple[int, int, int]:
        reply = self.call("promote_due", limit=limit, prioritized_limit=prioritized_limit)
        assert reply[0] == b"ok", reply
        return reply[1], reply[2], reply[3]

    # -- looking

    def state(self, job_id: str) -> str | None:
        return self.field(job_id, "state")

    def job(self, job_id: str) -> dict[str, str]:
        """The job's hash."""
        stored = self.client.hgetall(self.key(f"job:{job_id}"))
        return {name.decode(): value.decode() for name, value in stored.items()}

    def members(self, zset: str) -> dict[str, float]:
        found = self.client.zrange(self.key(zset), 0, -1, withscores=True)
        return {member.decode(): score for member, score in found}

    def elements(self, key: str) -> list[str]:
        return [element.decode() for element in self.client.lrange(self.key(key), 0, -1)]

    def list_active(self) -> int:
        return int(self.client.get(self.key("list-active")) or 0)

    def metrics(self, kind: str) -> dict[str, int]:
        stored = self.client.hgetall(self.key(f"metrics:{kind}"))
        return {name.decode(): int(value) for name, value in stored.items()}

    def events_of(self, job_id: str) -> list[str]:
        return [event["event"] for event in self.events() if event["jobId"] == job_id]

    def rings(self) -> int:
        return int(self.client.xlen(self.key("x-py:bell")))

    def read_as_node(self, consumer: str, count: int = 1) -> list[tuple[str, str]]:
        """A blocking reader's read: entries are delivered, nothing is started. [(entry id, job id)]"""
        reply = self.client.xreadgroup("workers", consumer, {self.key("stream"): ">"}, count=count)
        return [(entry.decode(), fields[b"jobId"].decode()) for entry, fields in reply[0][1]] if reply else []

    def snapshot(self) -> dict[str, Any]:
        """Every key of the queue with its value, to tell whether a call changed anything."""
        values = {
            suffix: self.client.dump(self.key(suffix)) for suffix in self.suffixes() if suffix != "stream"
        }
        stream = self.key("stream")
        if self.client.exists(stream):
            # Dumped, a stream would show the time of each delivery.
            values["stream"] = (
                self.client.xrange(stream),
                self.pending() if self.client.xinfo_groups(stream) else {},
            )
        return values
