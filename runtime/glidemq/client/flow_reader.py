"""Reading a flow: a job and what it waits for, down to the leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from glidemq.commands.get_children import GetChildrenCommand
from glidemq.commands.get_job import GetJobCommand
from glidemq.commands.job_fields import JobFields
from glidemq.commands.keys import QueueKeys
from glidemq.connection.connection import Connection


@dataclass(eq=False, slots=True)
class StoredJob:
    """One job of a flow as it is stored, and those it waits for."""

    keys: QueueKeys
    fields: JobFields
    children: list[StoredJob] = field(default_factory=list["StoredJob"])


class FlowReader:
    """Reads at most `max_jobs` jobs, level by level, so that what is left out is the deepest.

    A job that several others wait for is read once. Children that do not exist (any more) are left out.
    """

    def __init__(self, connection: Connection, prefix: str, *, depth: int, max_jobs: int) -> None:
        self._connection = connection
        self._prefix = prefix
        self._depth = depth
        self._max_jobs = max_jobs
        self._found: dict[str, StoredJob] = {}

    async def read(self, queue: QueueKeys, job_id: str) -> StoredJob | None:
        """The job with everything below it; None if there is no such job."""
        top = f"{queue.base}:{job_id}"
        level = await self._fetch([top])
        for _ in range(self._depth):
            following: list[StoredJob] = []
            for parent in level:
                members = await self._children(parent)
                following += await self._fetch([member for member in members if member not in self._found])
                parent.children = [self._found[member] for member in members if member in self._found]
            level = following
        return self._found.get(top)

    async def _fetch(self, members: Sequence[str]) -> list[StoredJob]:
        """Those of the jobs that exist, as far as there is room for them."""
        wanted = members[: self._max_jobs - len(self._found)]
        fetched = await asyncio.gather(*(self._job(member) for member in wanted))
        found = {member: job for member, job in zip(wanted, fetched, strict=True) if job is not None}
        self._found |= found
        return list(found.values())

    async def _job(self, member: str) -> StoredJob | None:
        base, _, job_id = member.rpartition(":")
        queue = QueueKeys(self._prefix, base[base.index("{") + 1 : base.rindex("}")])
        fields = await self._connection.execute(GetJobCommand(queue.meta, job_id=job_id))
        return None if fields is None else StoredJob(queue, fields)

    async def _children(self, parent: StoredJob) -> list[str]:
        members: dict[str, None] = {}
        job_id = parent.fields["id"].decode()
        command: GetChildrenCommand | None = GetChildrenCommand(parent.keys.meta, job_id=job_id)
        while command is not None and len(self._found) < self._max_jobs:
            page = await self._connection.execute(command)
            if page is None:
                break
            members |= dict.fromkeys(child.member for child in page.children)
            command = page.following
        return sorted(members, key=lambda member: (len(member), member))
