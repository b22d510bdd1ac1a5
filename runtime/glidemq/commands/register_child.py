"""Announce a child to its parents, before it is added."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from glidemq.commands.command import Command, pack
from glidemq.commands.fragments import CALL_VERSION
from glidemq.commands.status import status_of, unexpected
from glidemq.errors import JobNotFoundError, JobStateError


class RegisterChildCommand(Command[str | None]):
    """Makes the job named `member`, which need not exist yet, a child of `parents`, jobs of this queue.

    Returns the key of the budget that one of the parents has, which the child joins.
    Raises JobNotFoundError and JobStateError for a parent that does not exist or has ended: nothing was registered.
    """

    function = "gmq_register_child"
    replayable = True

    __slots__ = ("member", "parents")

    def __init__(self, queue_key: str, *, parents: Sequence[str], member: str) -> None:
        super().__init__(queue_key)
        self.parents = parents
        self.member = member

    def arguments(self) -> bytes:
        return pack({"v": CALL_VERSION, "parents": list(self.parents), "member": self.member})

    def parse_reply(self, reply: list[Any]) -> str | None:
        status = status_of(reply)
        if status == "missing":
            raise JobNotFoundError(f"the parent job {reply[1].decode()} does not exist; nothing was added")
        if status == "ended":
            raise JobStateError(f"the parent job {reply[1].decode()} has ended; nothing was added")
        if status != "ok":
            raise unexpected(self.function, reply)
        budget_key: str | None = reply[1].decode() if reply[1] else None
        return budget_key
