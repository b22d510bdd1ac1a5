"""Search by vector, on the server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from glidemq.commands.command import Command, pack
from glidemq.commands.status import status_of, unexpected

STATUSES = frozenset({"ok", "no_module", "cluster", "no_index", "no_vector_field", "refused"})


class SearchReply(NamedTuple):
    """What the search module has found, or why it was not asked.

    status: ok; no_module, cluster or no_index: the client has to search, by the index's `definition` if there is one;
    no_vector_field; refused: `reason` says why. found: (job id, score), in the module's order.
    """

    status: str
    found: list[tuple[str, float]]
    definition: bytes | None
    reason: str


class VectorSearchCommand(Command[SearchReply]):
    """The jobs whose vectors are nearest to one."""

    function = "gmq_vector_search"
    replayable = True

    __slots__ = ("filter", "index", "k", "options", "score_field", "vector")

    def __init__(
        self,
        queue_key: str,
        *,
        index: str,
        filter: str,
        k: int,
        vector: bytes,
        score_field: str,
        options: Sequence[str],
    ) -> None:
        super().__init__(queue_key)
        self.index = index
        self.filter = filter
        self.k = k
        self.vector = vector
        self.score_field = score_field
        self.options = options

    def arguments(self) -> bytes:
        return pack(
            {
                "v": 1,
                "index": self.index,
                "filter": self.filter,
                "k": self.k,
                "vector": self.vector,
                "score_field": self.score_field,
                "options": self.options,
            }
        )

    def parse_reply(self, reply: list[Any]) -> SearchReply:
        status = status_of(reply)
        if status not in STATUSES:
            raise unexpected(self.function, reply)
        if status == "ok":
            found = [(job_id.decode(), float(score)) for job_id, score in reply[1]]
            return SearchReply(status, found, None, "")
        if status == "refused":
            return SearchReply(status, [], None, reply[1].decode("utf-8", "replace"))
        definition = reply[1] if len(reply) > 1 and reply[1] else None
        return SearchReply(status, [], definition, "")
