"""List the dead letters of one queue, or of all."""

from __future__ import annotations

from typing import Any, NamedTuple

from glidemq.commands.command import Command, pack
from glidemq.commands.fragments import CALL_VERSION
from glidemq.commands.job_fields import JobFields, job_fields
from glidemq.commands.status import expect_ok


class BriefLetter(NamedTuple):
    """What a summary needs of a letter. timestamp_ms: of its arrival. reason: its start. source: whose job failed."""

    id: str
    timestamp_ms: int
    error: str
    reason: str
    source: str


class LettersPage(NamedTuple):
    """Some letters, whole or brief, and the command that goes on; None at the end."""

    jobs: list[JobFields]
    brief: list[BriefLetter]
    following: ListDeadLettersCommand | None


class ListDeadLettersCommand(Command[LettersPage]):
    """The jobs of this queue that are letters of the queue `source`, in the order of their arrival, or the other way.

    source: None lists the letters of all queues. A page may hold none and still have a `following`.
    """

    function = "gmq_list_dead_letters"
    replayable = True

    __slots__ = ("brief", "limit", "newest_first", "resume", "source")

    def __init__(
        self,
        queue_key: str,
        *,
        source: str | None,
        limit: int = 100,
        newest_first: bool = False,
        brief: bool = False,
        resume: bytes | None = None,
    ) -> None:
        super().__init__(queue_key)
        self.source = source
        self.limit = limit
        self.newest_first = newest_first
        self.brief = brief
        self.resume = resume

    def arguments(self) -> bytes:
        return pack(
            {
                "v": CALL_VERSION,
                "source": False if self.source is None else self.source,
                "limit": self.limit,
                "newest_first": self.newest_first,
                "brief": self.brief,
                "resume": self.resume or False,
            }
        )

    def parse_reply(self, reply: list[Any]) -> LettersPage:
        expect_ok(self.function, reply)
        _, letters, resume = reply
        following = self._from(resume) if resume else None
        if self.brief:
            return LettersPage([], [_brief(letter) for letter in letters], following)
        return LettersPage([job_fields(flat) for flat in letters], [], following)

    def _from(self, resume: bytes) -> ListDeadLettersCommand:
        return ListDeadLettersCommand(
            self.queue_key,
            source=self.source,
            limit=self.limit,
            newest_first=self.newest_first,
            brief=self.brief,
            resume=resume,
        )


def _brief(letter: list[bytes]) -> BriefLetter:
    job_id, timestamp, error, reason, source = (text.decode(errors="replace") for text in letter)
    return BriefLetter(job_id, int(float(timestamp)), error, reason, source)
