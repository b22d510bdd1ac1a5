"""A queue written and read with plain commands, as a Node producer or worker would leave it."""

from __future__ import annotations

import re
from typing import Any

PREFIX = "glide"
GROUP = "workers"


class RawQueue:
    """One queue's keys on the shared server; every `add_*` also writes the job's hash."""

    def __init__(self, client: Any, name: str) -> None:
        self.client = client
        self.name = name

    def key(self, suffix: str) -> str:
        return f"{PREFIX}:{{{self.name}}}:{suffix}"

    def hash(self, job_id: str, **fields: Any) -> None:
        defaults = {
            "id": job_id,
            "name": "n",
            "data": f'{{"of":"{job_id}"}}',
            "opts": "{}",
            "timestamp": 1000,
        }
        counters = {"attemptsMade": 0, "delay": 0, "priority": 0, "maxAttempts": 0}
        self.client.hset(self.key(f"job:{job_id}"), mapping={**defaults, **counters, **fields})

    def add_waiting(self, *job_ids: str, entry_ms: int | None = None, **fields: Any) -> list[str]:
        """Stream jobs; returns their entry ids. `entry_ms` sets the time in the ids."""
        entries = []
        for job_id in job_ids:
            self.hash(job_id, state="waiting", **fields)
            entry_id = "*" if entry_ms is None else f"{entry_ms}-*"
            pairs = {"jobId": job_id, "name": "n"}
            entries.append(self.client.xadd(self.key("stream"), pairs, id=entry_id).decode())
        return entries

    def add_listed(self, which: str, *job_ids: str) -> None:
        """Jobs in `lifo` or `priority`, the last one on the right."""
        own = {"lifo": "1"} if which == "lifo" else {"priority": 5}
        for job_id in job_ids:
            self.hash(job_id, state="waiting", **own)
            self.client.rpush(self.key(which), job_id)

    def add_scored(self, zset: str, job_id: str, score: float, **fields: Any) -> None:
        self.hash(job_id, **fields)
        self.client.zadd(self.key(zset), {job_id: score})

    def create_group(self) -> None:
        self.client.xgroup_create(self.key("stream"), GROUP, id="0", mkstream=True)

    def deliver(self, consumer: str, count: int) -> list[str]:
        """Let a consumer read `count` entries; the jobs become active. Returns their ids."""
        reply = self.client.xreadgroup(GROUP, consumer, {self.key("stream"): ">"}, count=count)
        job_ids = [fields[b"jobId"].decode() for _, fields in reply[0][1]]
        for job_id in job_ids:
            active = {"state": "active", "processedOn": 2000, "lastActive": 2000}
            self.client.hset(self.key(f"job:{job_id}"), mapping=active)
        return job_ids

    def give_back(self, entry_id: str, job_id: str) -> None:
        """Hand a pending entry to the pseudo-consumer whose entries wait."""
        self.client.xclaim(self.key("stream"), GROUP, "py-returned", 0, [entry_id], justid=True)
        self.client.hset(self.key(f"job:{job_id}"), "state", "waiting")

    def pending(self) -> dict[str, str]:
        """Entry id -> consumer; nothing where nobody has read the stream yet."""
        stream = self.key("stream")
        if not self.client.exists(stream) or not self.client.xinfo_groups(stream):
            return {}
        rows = self.client.xpending_range(self.key("stream"), GROUP, "-", "+", 1000)
        return {row["message_id"].decode(): row["consumer"].decode() for row in rows}

    def field(self, job_id: str, name: str) -> str | None:
        value = self.client.hget(self.key(f"job:{job_id}"), name)
        return None if value is None else value.decode()

    def entries(self) -> list[str]:
        """The job ids of the stream, in order."""
        return [fields[b"jobId"].decode() for _, fields in self.client.xrange(self.key("stream"))]

    def events(self) -> list[dict[str, str]]:
        """The event log without entry ids."""
        rows = self.client.xrange(self.key("events"))
        return [{name.decode(): value.decode() for name, value in fields.items()} for _, fields in rows]

    def suffixes(self) -> list[str]:
        """What exists of the queue, as key suffixes."""
        pattern = re.sub(r"([*?\[\]\\])", r"\\\1", self.key("")) + "*"
        found = self.client.scan_iter(match=pattern, count=1000)
        return sorted(key.decode().partition("}:")[2] for key in found)
