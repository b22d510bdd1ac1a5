"""Revoke one job."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, cast

from glidemq.commands.command import Command, pack
from glidemq.commands.status import status_of, unexpected

RevocationStatus = Literal["revoked", "flagged", "not_found"]
STATUSES = frozenset({"revoked", "flagged", "not_found"})


@dataclass(frozen=True, slots=True)
class Revocation:
    """What became of the job, and the command that goes on looking for its stream entry, if need be.

    revoked: nobody ran it, and it has failed. flagged: it runs, and will end as failed whatever its processor
    does; or it had finished, and stays so, but fails if it is retried. not_found: there is no such job.
    """

    status: RevocationStatus
    following: RevokeCommand | None = None


class RevokeCommand(Command[Revocation]):
    """Makes a job fail with the reason `revoked`, never to be retried by itself.

    The first call decides. In a long queue the stream entry of a waiting job may need more calls to be found:
    execute `following` until there is none. An entry that stays behind is harmless to workers of this library.
    force_after_ms: a running job is ended by force so much later.
    """

    function = "gmq_revoke"
    replayable = True

    __slots__ = ("force_after_ms", "job_id", "resume")

    def __init__(
        self,
        queue_key: str,
        *,
        job_id: str,
        force_after_ms: int | None = None,
        resume: list[Any] | None = None,
    ) -> None:
        super().__init__(queue_key)
        self.job_id = job_id
        self.force_after_ms = force_after_ms
        self.resume = resume

    def arguments(self) -> bytes:
        members: dict[str, Any] = {"v": 1, "id": self.job_id, "resume": self.resume or False}
        if self.force_after_ms is not None:
            members["force_after_ms"] = self.force_after_ms
        return pack(members)

    def parse_reply(self, reply: list[Any]) -> Revocation:
        status = status_of(reply)
        if status not in STATUSES:
            raise unexpected(self.function, reply)
        resume = reply[1] if status == "revoked" else None
        following = RevokeCommand(self.queue_key, job_id=self.job_id, resume=resume) if resume else None
        return Revocation(cast(RevocationStatus, status), following)
