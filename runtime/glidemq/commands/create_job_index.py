"""Create a search index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from glidemq.commands.command import Command, pack
from glidemq.commands.status import status_of, unexpected

STATUSES = frozenset({"ok", "exists", "no_module", "cluster", "refused"})


class IndexReply(NamedTuple):
    """What became of it: ok, exists, no_module, cluster (no module can help there) or refused, with the reason."""

    status: str
    reason: str


class CreateJobIndexCommand(Command[IndexReply]):
    """Has the search module index the queue's vectors; without one the index is only noted, if `fallback`."""

    function = "gmq_create_job_index"
    replayable = False  # the second call finds that the index exists

    __slots__ = ("definition", "fallback", "name", "options", "schema")

    def __init__(
        self,
        queue_key: str,
        *,
        name: str,
        schema: Sequence[str],
        options: Sequence[str],
        definition: str,
        fallback: bool,
    ) -> None:
        super().__init__(queue_key)
        self.name = name
        self.schema = schema
        self.options = options
        self.definition = definition
        self.fallback = fallback

    def arguments(self) -> bytes:
        return pack(
            {
                "v": 1,
                "name": self.name,
                "schema": self.schema,
                "options": self.options,
                "definition": self.definition,
                "fallback": self.fallback,
            }
        )

    def parse_reply(self, reply: list[Any]) -> IndexReply:
        status = status_of(reply)
        if status not in STATUSES:
            raise unexpected(self.function, reply)
        reason: bytes = reply[1] if len(reply) > 1 else b""
        return IndexReply(status, reason.decode("utf-8", "replace"))
