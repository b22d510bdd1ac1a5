"""List the workers of a queue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import orjson

from glidemq.commands.command import Command, pack
from glidemq.commands.status import expect_ok


@dataclass(frozen=True, slots=True)
class WorkerEntry:
    """A worker that is alive: its consumer name, host, process id, start and age, and the jobs it runs now."""

    id: str
    addr: str
    pid: int
    started_at_ms: int
    age_ms: int
    active_jobs: int


class GetWorkersCommand(Command[Sequence[WorkerEntry]]):
    """The workers of this library and of Node that have announced themselves, in the order of their start.

    A Node worker is found once it has asked for jobs. Entries without addr, pid or startedAt are left out, as
    Node does. Source: wire-format 2.19.
    """

    function = "gmq_get_workers"
    replayable = True

    __slots__ = ()

    def arguments(self) -> bytes:
        return pack({"v": 1})

    def parse_reply(self, reply: list[Any]) -> Sequence[WorkerEntry]:
        expect_ok(self.function, reply)
        _, now_ms, rows = reply
        entries = (_entry(consumer, info, now_ms) for consumer, info in rows)
        return sorted(
            (entry for entry in entries if entry is not None),
            key=lambda entry: (entry.started_at_ms, entry.id),
        )


def _entry(consumer: bytes, raw: bytes, now_ms: int) -> WorkerEntry | None:
    try:
        info: Any = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(info, dict):
        return None
    info = cast(dict[str, Any], info)
    addr, pid, started_at_ms = info.get("addr"), info.get("pid"), info.get("startedAt")
    if not (isinstance(addr, str) and isinstance(pid, int) and isinstance(started_at_ms, (int, float))):
        return None
    active_jobs = info.get("activeJobs")
    return WorkerEntry(
        consumer.decode("utf-8", "replace"),
        addr,
        pid,
        int(started_at_ms),
        max(now_ms - int(started_at_ms), 0),
        int(active_jobs) if isinstance(active_jobs, (int, float)) else 0,
    )
