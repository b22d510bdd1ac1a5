"""What stands on the server: the structures of one queue, read in one go."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.lua.driven_queue import DrivenQueue
from tests.lua.raw_queue import GROUP

RETURNED = "py-returned"
LISTS = ("lifo", "priority")
SETS = ("scheduled", "completed", "failed", "suspended", "ratelimited", "x-py:parents")

Text = dict[str, str]


@dataclass
class Picture:
    """Texts decoded; whatever does not exist is empty."""

    jobs: dict[str, Text] = field(default_factory=dict[str, Text])
    entries: list[tuple[str, str]] = field(
        default_factory=list[tuple[str, str]]
    )  # entry id, job id; in the order of the stream
    pending: Text = field(default_factory=dict[str, str])  # entry id -> consumer
    lists: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    sets: dict[str, dict[str, float]] = field(default_factory=dict[str, dict[str, float]])
    cells: dict[str, dict[str, float]] = field(
        default_factory=dict[str, dict[str, float]]
    )  # list-sourced jobs in hand, by cell
    groups: dict[str, Text] = field(default_factory=dict[str, Text])
    parked: dict[str, list[str]] = field(default_factory=dict[str, list[str]])  # by group
    list_active: int = 0
    rate: Text = field(default_factory=dict[str, str])
    metrics: dict[str, Text] = field(default_factory=dict[str, Text])
    letters: list[str] = field(default_factory=list[str])  # the jobs of the dead letters on their way
    events: list[Text] = field(default_factory=list[Text])  # those since the picture before
    last_event: str = "0-0"

    def state(self, job_id: str) -> str | None:
        job = self.jobs.get(job_id)
        return job["state"] if job else None

    def holder(self, entry_id: str) -> str | None:
        """The host that has read an entry; None while the entry waits."""
        owner = self.pending.get(entry_id)
        return None if owner == RETURNED else owner

    def undelivered(self) -> list[str]:
        """The jobs whose entries nobody has read yet, in their order."""
        return [job_id for entry_id, job_id in self.entries if entry_id not in self.pending]

    def in_hands(self) -> int:
        """What counts against a global concurrency."""
        return sum(owner != RETURNED for owner in self.pending.values()) + self.list_active


def _text(pairs: dict[bytes, bytes]) -> Text:
    return {name.decode(): value.decode() for name, value in pairs.items()}


def take_picture(
    queue: DrivenQueue, ids: Iterable[str], hosts: Iterable[str], groups: Iterable[str], last_event: str
) -> Picture:
    """One pipeline; the queue's consumer group must exist."""
    ids, hosts, groups = list(ids), list(hosts), list(groups)
    pipe = queue.client.pipeline(transaction=False)
    for job_id in ids:
        pipe.hgetall(queue.key(f"job:{job_id}"))
    for key in groups:
        pipe.hgetall(queue.key(f"group:{key}"))
        pipe.zrange(queue.key(f"groupq:{key}"), 0, -1)
    for name in LISTS:
        pipe.lrange(queue.key(name), 0, -1)
    for name in SETS:
        pipe.zrange(queue.key(name), 0, -1, withscores=True)
    for host in hosts:
        pipe.zrange(queue.key(f"x-py:active:{host}"), 0, -1, withscores=True)
    pipe.xrange(queue.key("stream"))
    pipe.xpending_range(queue.key("stream"), GROUP, "-", "+", 1000)
    pipe.get(queue.key("list-active"))
    pipe.hgetall(queue.key("rate"))
    pipe.hgetall(queue.key("metrics:completed"))
    pipe.hgetall(queue.key("metrics:failed"))
    pipe.xrange(queue.key("x-py:dead-letters"))
    pipe.xrange(queue.key("events"), min=f"({last_event}")
    replies = iter(pipe.execute())

    def scored() -> dict[str, float]:
        return {member.decode(): score for member, score in next(replies)}

    def hashes(names: list[str]) -> dict[str, Text]:
        found = {name: _text(next(replies)) for name in names}
        return {name: stored for name, stored in found.items() if stored}

    picture = Picture(jobs=hashes(ids), last_event=last_event)
    for key in groups:
        picture.groups[key] = _text(next(replies))
        picture.parked[key] = [member.decode() for member in next(replies)]
    for name in LISTS:
        picture.lists[name] = [element.decode() for element in next(replies)]
    picture.sets = {name: scored() for name in SETS}
    picture.cells = {host: scored() for host in hosts}
    picture.entries = [(entry.decode(), fields[b"jobId"].decode()) for entry, fields in next(replies)]
    picture.pending = {row["message_id"].decode(): row["consumer"].decode() for row in next(replies)}
    picture.list_active = int(next(replies) or 0)
    picture.rate = _text(next(replies))
    picture.metrics = {"completed": _text(next(replies)), "failed": _text(next(replies))}
    picture.letters = [fields[b"job"].decode() for _, fields in next(replies)]
    events: list[Any] = next(replies)
    picture.events = [_text(fields) for _, fields in events]
    if events:
        picture.last_event = events[-1][0].decode()
    return picture
