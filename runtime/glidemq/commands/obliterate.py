"""Delete a whole queue."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from glidemq.commands.command import Command, pack
from glidemq.commands.status import status_of, unexpected
from glidemq.errors import JobStateError

# Keys of the server that one round looks at: about 2 ms if all of them belong to the queue.
ROUND_KEYS = 1000


@dataclass(frozen=True, slots=True)
class Obliteration:
    """How many keys a round deleted, and the command for the next round; None when nothing is left."""

    deleted: int
    following: ObliterateCommand | None


class ObliterateCommand(Command[Obliteration]):
    """Deletes every key of the queue, in rounds: execute `following` until there is none.

    Raises JobStateError while jobs are active, unless `force`; nothing was deleted then. Jobs added meanwhile
    are lost.
    """

    function = "gmq_obliterate"
    replayable = True  # a round that is repeated finds less to delete

    __slots__ = ("cursor", "force", "limit")

    def __init__(
        self, queue_key: str, *, force: bool = False, limit: int = ROUND_KEYS, cursor: str | None = None
    ) -> None:
        super().__init__(queue_key)
        self.force = force
        self.limit = limit
        self.cursor = cursor

    def arguments(self) -> bytes:
        return pack({"v": 1, "force": self.force, "limit": self.limit, "cursor": self.cursor or False})

    def parse_reply(self, reply: list[Any]) -> Obliteration:
        status = status_of(reply)
        if status == "done":
            return Obliteration(reply[1], None)
        if status == "more":
            cursor = reply[2].decode()
            return Obliteration(
                reply[1],
                ObliterateCommand(self.queue_key, force=self.force, limit=self.limit, cursor=cursor),
            )
        if status == "active":
            raise JobStateError(
                f'Cannot obliterate queue "{self._queue_name()}": {reply[1]} active jobs. '
                "Use force=True to override."
            )
        raise unexpected(self.function, reply)

    def _queue_name(self) -> str:
        match = re.search(r"\{(.*)\}:meta$", self.queue_key)
        return match[1] if match else self.queue_key
