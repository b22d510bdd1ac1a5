"""Count the jobs by state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from glidemq.commands.command import Command, pack
from glidemq.commands.status import expect_ok


class GetCountsCommand(Command[Mapping[str, int]]):
    """State name to number of jobs, for every state that the server can count without walking over its jobs.

    "delayed" includes the prioritized jobs, as in glide-mq for Node; "prioritized" shows them alone.
    """

    function = "gmq_get_counts"
    replayable = True

    __slots__ = ()

    def arguments(self) -> bytes:
        return pack({"v": 1})

    def parse_reply(self, reply: list[Any]) -> Mapping[str, int]:
        expect_ok(self.function, reply)
        counts: dict[bytes, int] = reply[1]
        return {state.decode(): number for state, number in counts.items()}
