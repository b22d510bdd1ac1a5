"""Looks after parents that have waited for a while: somebody may have failed to tell them of a child."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from glidemq.actors.actor import PeriodicActor, for_each_queue
from glidemq.commands.check_parents import CheckParentsCommand
from glidemq.commands.get_children import GetChildrenCommand
from glidemq.commands.hear_children import ChildNews, HearChildrenCommand
from glidemq.commands.keys import QueueKeys
from glidemq.commands.tell_again import MISSING, TellAgainCommand
from glidemq.connection.connection import Connection
from glidemq.pipeline.queue_pump import QueuePump

PARENTS_PER_CALL = 20
CHILDREN_PER_CALL = 200
INTERVAL_S = 5.0


class ParentCare(PeriodicActor):
    """Asks the children of long-waiting parents how they are; those that have ended tell their parents once more.

    What it is for: children that a Node worker failed, which tells nobody; queues without a worker that would carry
    their letters; producers that died before they had written all children. A child that nobody finds for a minute
    counts as failed. The server says when to look after which parent, and says it to one host.
    """

    name = "parent-care"

    def __init__(
        self,
        *,
        connection: Connection,
        pumps: Callable[[], Iterable[QueuePump]],
        posted: Callable[[str], None],
        interval_s: float = INTERVAL_S,
    ) -> None:
        """posted: to be called with the key of a queue that has letters now."""
        super().__init__(interval_s)
        self._connection = connection
        self._pumps = pumps
        self._posted = posted

    async def tick(self) -> None:
        """One pass over every queue."""
        await for_each_queue(self._pumps(), lambda pump: self.look_after(pump.keys))

    async def look_after(self, queue: QueueKeys) -> None:
        """Look after the parents of one queue for which it is time."""
        while True:
            due = await self._connection.execute(CheckParentsCommand(queue.meta, limit=PARENTS_PER_CALL))
            for parent_id in due:
                await self._look_at(queue, parent_id)
            if len(due) < PARENTS_PER_CALL:
                return

    async def _look_at(self, queue: QueueKeys, parent_id: str) -> None:
        command: GetChildrenCommand | None = GetChildrenCommand(queue.meta, job_id=parent_id)
        while command is not None:
            page = await self._connection.execute(command)
            if page is None:
                return
            awaited: dict[str, list[str]] = {}
            for child in page.children:
                if not child.done:
                    awaited.setdefault(child.member.rpartition(":")[0], []).append(child.member)
            for base, members in awaited.items():
                for first in range(0, len(members), CHILDREN_PER_CALL):
                    await self._ask(queue, parent_id, base, members[first : first + CHILDREN_PER_CALL])
            command = page.following

    async def _ask(self, queue: QueueKeys, parent_id: str, base: str, members: list[str]) -> None:
        rows = [(member.rpartition(":")[2], queue.base, parent_id) for member in members]
        result = await self._connection.execute(TellAgainCommand(f"{base}:meta", rows=rows))
        if (
            result.posted or MISSING in result.codes
        ):  # a letter about a removed one may lie where nobody fetches it
            self._posted(f"{base}:meta")
        missing = [
            ChildNews.pack(parent_id, member, "missing", None)
            for member, code in zip(members, result.codes, strict=True)
            if code == MISSING
        ]
        if missing:
            posted = await self._connection.execute(HearChildrenCommand(queue.meta, rows=missing))
            if posted:
                self._posted(queue.meta)
