"""Read how the replays of dead letters ended."""

from __future__ import annotations

from typing import Any, NamedTuple

from glidemq.commands.command import Command, pack
from glidemq.commands.fragments import CALL_VERSION
from glidemq.commands.status import expect_ok


class ReplayCounts(NamedTuple):
    """Replays ever made, how their jobs ended, and how many have not yet.

    on_the_way: letters in the outbox. lost: those that it had no room for.
    """

    now_ms: int
    made: int
    completed: int
    failed: int
    unended: int
    on_the_way: int
    lost: int


class GetReplaysCommand(Command[ReplayCounts]):
    """The counts of a queue whose letters were replayed."""

    function = "gmq_get_replays"
    replayable = True

    __slots__ = ()

    def arguments(self) -> bytes:
        return pack({"v": CALL_VERSION})

    def parse_reply(self, reply: list[Any]) -> ReplayCounts:
        expect_ok(self.function, reply)
        _, now_ms, (made, completed, failed, unended), on_the_way, lost = reply
        return ReplayCounts(now_ms, made, completed, failed, unended, on_the_way, lost)
