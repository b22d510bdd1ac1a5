"""Families of jobs: added as a producer adds them, and news carried between queues as the runtime carries it."""

from __future__ import annotations

from typing import Any

from glidemq.commands.add_flow import AddFlowCommand
from glidemq.commands.command import unpack
from glidemq.commands.enqueue import Family, JobRow
from tests.lua.driven_queue import DrivenQueue


def member(queue: DrivenQueue, job_id: str) -> str:
    """How a job is named among the children and parents of others."""
    return queue.key(job_id)


def opts_of(on_failure: str | None) -> str:
    return "{}" if on_failure is None else f'{{"x-py:onFailure":"{on_failure}"}}'


def add_flow(queue: DrivenQueue, *rows: bytes, **arguments: Any) -> list[Any]:
    """One call of add_flow; its reply."""
    command = AddFlowCommand(queue.key("meta"), rows=rows, **arguments)
    packed = {name.decode(): value for name, value in unpack(command.arguments()).items()}
    return queue.call("add_flow", **packed)


def leaf(
    job_id: str,
    parent: tuple[DrivenQueue, str] | None = None,
    *,
    on_failure: str | None = None,
    **row: Any,
) -> bytes:
    """A job without children."""
    return JobRow.pack(
        row.pop("name", "child"),
        "{}",
        opts_of(on_failure),
        custom_id=job_id,
        parent_id=parent[1] if parent else None,
        parent_queue=parent[0].name if parent else None,
        **row,
    )


def parent_row(
    job_id: str,
    *children: str,
    parent: tuple[DrivenQueue, str] | None = None,
    on_failure: str | None = None,
    opts: str | None = None,
    **row: Any,
) -> bytes:
    """A job that waits for `children`, given by their names."""
    return JobRow.pack(
        row.pop("name", "parent"),
        "{}",
        opts or opts_of(on_failure),
        custom_id=job_id,
        parent_id=parent[1] if parent else None,
        parent_queue=parent[0].name if parent else None,
        family=Family(children=children, **row.pop("family", {})),
        **row,
    )


def add_parent(queue: DrivenQueue, job_id: str, *children: str, on_failure: str | None = None) -> None:
    """A parent "p" of children in its own queue, which are added as well."""
    rows = [leaf(child, (queue, job_id), on_failure=on_failure) for child in children]
    names = [member(queue, child) for child in children]
    assert add_flow(queue, *rows, parent_row(job_id, *names)) == [b"ok"]


def letters(queue: DrivenQueue) -> list[list[Any]]:
    """What stands in the queue's outbox: [entry id, kind, to, body, age]."""
    status, entries, following = queue.call("read_outbox", limit=500, after="", min_age_ms=0)
    assert (status, following) == (b"ok", b"")
    found: list[list[Any]] = entries
    return found


def carry(origin: DrivenQueue, target: DrivenQueue, *, clear: bool = True) -> int:
    """Carry all letters for `target`; how many there were. Without `clear` they will be carried again."""
    found = [entry for entry in letters(origin) if entry[2].decode() == target.key("").removesuffix(":")]
    rows = [unpack(entry[3]) for entry in found]
    assert target.call("hear_children", rows=rows)[0] == b"ok"
    if clear:
        assert origin.call("clear_outbox", entries=[entry[0] for entry in found])[0] == b"ok"
    return len(found)
