"""Signal a suspended job."""

from __future__ import annotations

import secrets
from typing import Any, Literal, cast

from glidemq.commands.command import Command, pack
from glidemq.commands.status import status_of, unexpected

SignalStatus = Literal["resumed", "kept", "full", "finished", "not_found"]
STATUSES = frozenset({"resumed", "kept", "full", "finished", "not_found"})


class SignalCommand(Command[SignalStatus]):
    """Lets a suspended job go on; for one that does not wait yet the signal is kept, up to a hundred of them.

    resumed: the job was suspended. kept: its next wait takes the signal up. full: it has too many already. finished,
    not_found: nobody will ever wait for it. All but the first two left nothing behind.
    """

    function = "gmq_signal"
    replayable = True  # the server remembers what it answered

    __slots__ = ("data", "idem", "job_id", "name")

    def __init__(self, queue_key: str, *, job_id: str, name: str, data: bytes) -> None:
        """data: serialized text, empty for none."""
        super().__init__(queue_key)
        self.job_id = job_id
        self.name = name
        self.data = data
        self.idem = secrets.token_hex(8)

    def arguments(self) -> bytes:
        return pack({"v": 1, "id": self.job_id, "name": self.name, "data": self.data, "idem": self.idem})

    def parse_reply(self, reply: list[Any]) -> SignalStatus:
        status = status_of(reply)
        if status not in STATUSES:
            raise unexpected(self.function, reply)
        return cast(SignalStatus, status)
