"""Add jobs, all of them or none."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any, NamedTuple

from glidemq.commands.command import Command, pack
from glidemq.commands.fragments import packed_call
from glidemq.commands.status import status_of, unexpected
from glidemq.errors import QueueFullError, ValidationError
from glidemq.options.deduplication import DeduplicationOnWire
from glidemq.options.ordering import GroupOnWire


class Family(NamedTuple):
    """A flow job's relatives, by their names (`glide:{queue}:id`).

    children: those it waits for. parents: its dependents, if there are several; with their ids and queue names as JSON
    arrays, as Node stores them.
    """

    children: Sequence[str] = ()
    parents: Sequence[str] = ()
    parent_ids: bytes = b"[]"
    parent_queues: bytes = b"[]"

    def members(self) -> dict[str, Any]:
        """Its part of a row."""
        members: dict[str, Any] = {}
        if self.children:
            members["children"] = list(self.children)
        if self.parents:
            members["parents"] = (self.parent_ids, self.parent_queues, list(self.parents))
        return members


class JobRow:
    """One job to add, packed by whoever calls `add`, copied as it is by everybody after."""

    @staticmethod
    def pack(
        name: str,
        data: bytes | str,
        opts: bytes | str = b"{}",
        *,
        delay_ms: int = 0,
        priority: int = 0,
        lifo: bool = False,
        ttl_ms: int = 0,
        attempts: int = 0,
        custom_id: str | None = None,
        parent_id: str | None = None,
        parent_queue: str | None = None,
        group: GroupOnWire | None = None,
        cost: int = 0,
        deduplication: DeduplicationOnWire | None = None,
        family: Family | None = None,
        budget_key: str | None = None,
    ) -> bytes:
        """The row's msgpack. `data` is serialized, `opts` is JSON, both in UTF-8; ttl_ms 0 means none.

        cost: in thousandths of tokens, 0 for the default. family, budget_key: for the jobs of a flow.
        """
        extra: dict[str, Any] = {}
        if group is not None:
            extra["ordering"] = group.members()
        if cost:
            extra["cost"] = cost
        if deduplication is not None:
            extra["dedup"] = deduplication.members()
        if family is not None:
            extra |= family.members()
        if budget_key is not None:
            extra["budget"] = budget_key
        return pack(
            (
                name,
                data,
                opts,
                delay_ms,
                priority,
                1 if lifo else 0,
                ttl_ms,
                attempts,
                custom_id if custom_id is not None else False,
                parent_id if parent_id is not None else False,
                parent_queue if parent_queue is not None else False,
                extra or False,
            )
        )


class EnqueueResult(NamedTuple):
    """One id per row, and when the first scheduled job is due, or -1.

    An id is None for a row that repeats an earlier add, or whose custom id exists.
    """

    ids: list[str | None]
    due_ms: int


class EnqueueCommand(Command[EnqueueResult]):
    """Adds packed rows. Raises QueueFullError when more than `max_waiting` jobs would wait afterwards, and
    ValidationError when a job costs more than its group's bucket can hold; nothing is added then.

    The call carries an id of its own under which the server remembers the reply for a minute: repeating it
    after a lost reply adds nothing.
    """

    function = "gmq_enqueue"
    replayable = True

    __slots__ = ("call_id", "events", "given_id", "max_waiting", "rows")

    def __init__(
        self,
        queue_key: str,
        *,
        rows: Sequence[bytes],
        events: bool = True,
        max_waiting: int | None = None,
        call_id: str | None = None,
        given_id: int = 0,
    ) -> None:
        """given_id: the highest automatic id that the caller has seen; new ones are higher."""
        super().__init__(queue_key)
        self.given_id = given_id
        self.rows = rows
        self.events = events
        self.max_waiting = max_waiting
        self.call_id = call_id if call_id is not None else secrets.token_hex(8)

    def arguments(self) -> bytes:
        members: dict[str, Any] = {"events": self.events, "idem": self.call_id}
        if self.given_id:
            members["given"] = self.given_id
        if self.max_waiting is not None:
            members["max_waiting"] = self.max_waiting
        return packed_call(members, "jobs", self.rows)

    def parse_reply(self, reply: list[Any]) -> EnqueueResult:
        status = status_of(reply)
        if status == "ok":
            ids = [job_id.decode() if job_id is not False else None for job_id in reply[1]]
            return EnqueueResult(ids, reply[2])
        if status == "queue_full":
            _, waiting, maximum = reply
            raise QueueFullError(
                f"{waiting} jobs wait, and {len(self.rows)} more would exceed max_waiting={maximum}; "
                "nothing was added",
                room=max(maximum - waiting, 0),
            )
        if status == "cost_exceeds_capacity":
            raise ValidationError("Job cost exceeds token bucket capacity")
        raise unexpected(self.function, reply)
