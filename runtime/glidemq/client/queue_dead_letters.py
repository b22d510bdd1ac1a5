"""The jobs of a queue that failed for good, where they were collected: looking at them, trying them again."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from typing import Any, Generic

from glidemq.client.dead_letter_summary import (
    DeadLetterSummary,
    FailureClass,
    classified,
    instant,
    statistics_from,
)
from glidemq.client.queue_inspection import QueueInspection
from glidemq.client.replay import Replayer
from glidemq.commands.get_job import GetJobCommand
from glidemq.commands.get_replays import GetReplaysCommand
from glidemq.commands.get_settings import GetSettingsCommand
from glidemq.commands.index_range import check_range
from glidemq.commands.keys import QueueKeys
from glidemq.commands.list_dead_letters import BriefLetter, LettersPage, ListDeadLettersCommand
from glidemq.commands.remove import RemoveCommand
from glidemq.commands.set_dead_letter_queue import SetDeadLetterQueueCommand
from glidemq.errors import ValidationError
from glidemq.job import Job
from glidemq.job.record import In, Out
from glidemq.options import check_job_id
from glidemq.options.dead_letter_queue import (
    DeadLetterQueue,
    DeadLetterQueueOnWire,
    dead_letter_queue_on_wire,
)
from glidemq.payload import PLAIN_PAYLOAD

REPLAYED_AT_ONCE = 50
LETTERS_PER_PAGE = 500
MAX_LOOKED_AT = 10_000
PAGES_FOR_THE_OLDEST = 10


class QueueDeadLetters(QueueInspection[In, Out], Generic[In, Out]):
    """The part of `Queue` that concerns its dead letters; every method raises ConnectionError and ClosedError.

    A dead letter is an ordinary job of the dead letter queue. Its data is {"originalQueue", "originalJobId", "data",
    "failedReason", "attemptsMade"}, whatever the serializer of this queue. Failed jobs arrive there within a second, as
    long as a worker of this queue runs anywhere.
    """

    _dead_letters: DeadLetterQueueOnWire | None = None

    async def set_dead_letter_queue(
        self, dead_letter_queue: str | DeadLetterQueue | Mapping[str, Any] | None
    ) -> None:
        """Send the jobs that fail for good there from now on, on all workers; None: they only fail.

        Raises:
            ValidationError: a bad name, or this queue itself.
        """
        wire = dead_letter_queue_on_wire(dead_letter_queue, self.name)
        await self._execute(SetDeadLetterQueueCommand(self._queue_key, dead_letters=wire))
        self._dead_letters = wire

    async def get_dead_letter_jobs(self, start: int = 0, end: int = -1) -> list[Job[Any, Any]]:
        """The dead letters of this queue at the positions `start` to `end`, both inclusive, oldest first; negative ones
        count from the end; no jobs if no dead letter queue is configured.

        Raises:
            ValidationError: no such range.
        """
        check_range(start, end)
        dead = await self._dead_keys()
        if dead is None:
            return []
        if start < 0 or end < -1:
            count = sum([len(page.brief) async for page in self._letters(dead, brief=True)])
            start, end = (max(at + count, 0) if at < 0 else at for at in (start, end))
            if end < start:
                return []
        jobs: list[Job[Any, Any]] = []
        position = 0
        async for page in self._letters(dead, limit=end + 1 if 0 <= end < LETTERS_PER_PAGE else 0):
            for fields in page.jobs:
                if position >= start:
                    jobs.append(self._letter(dead, fields))
                position += 1
                if 0 <= end < position:
                    return jobs
        return jobs

    async def get_dead_letter_job(self, job_id: str) -> Job[Any, Any] | None:
        """The dead letter with this id (its own, not that of the job that failed); None if this queue has none such."""
        dead = await self._dead_keys()
        if dead is None:
            return None
        fields = await self._execute(GetJobCommand(dead.meta, job_id=check_job_id(job_id)))
        job = None if fields is None else self._letter(dead, fields)
        return job if job is not None and _origin(job) == self.name else None

    async def remove_dead_letter_job(self, job_id: str) -> bool:
        """Delete a dead letter; False if this queue has none such. The failed job stays among the failed ones."""
        job = await self.get_dead_letter_job(job_id)
        if job is None:
            return False
        dead = await self._dead_keys()
        assert dead is not None, "the letter was found there"
        await self._last_page(RemoveCommand(dead.meta, job_id=job_id))
        return True

    async def replay_dead_letter_job(self, job_id: str) -> Job[In, Out] | None:
        """Try a dead letter again: a new job of this queue, with a new id, and the letter is removed.

        The failed job's data and options are taken as they are now if it is still there, else as they were; not its
        job_id, delay, deduplication and parent. Interrupted, or asked for twice at once, it makes one job: call it
        again.

        A failed job that was retried by hand (`Job.retry`, `retry_jobs`) is not tried once more: the letter is removed,
        and that job returned.

        Returns the new job; None if there is no such letter, no dead letter queue, or the job is gone already.

        Raises:
            JobStateError: no letter, or that of another queue.
        """
        check_job_id(job_id)
        dead = await self._dead_keys()
        if dead is None:
            return None
        self._check_open()
        replay = await Replayer(self._connection, self.keys, dead).replay(job_id)
        return None if replay is None else await self.get_job(replay.job_id)

    async def replay_dead_letter_jobs(self, count: int | None = None) -> int:
        """Try dead letters again, oldest first; how many were replayed.

        count: how many letters at most; None and 0: all that have arrived by now. Those that fail again meanwhile are
        not replayed twice; letters of jobs that were retried by hand go without a replay.

        Raises:
            ValidationError: a negative count, or no integer.
        """
        if count is not None and (isinstance(count, bool) or not isinstance(count, int) or count < 0):  # pyright: ignore[reportUnnecessaryIsInstance] - users err
            raise ValidationError("count must be a non-negative integer")
        dead = await self._dead_keys()
        if dead is None:
            return 0
        replayer = Replayer(self._connection, self.keys, dead)
        newest = await self._newest(dead, 1, self.name)
        if not newest[0]:
            return 0
        last_ms, left, replayed = newest[0][0].timestamp_ms, count or None, 0
        async for page in self._letters(dead, brief=True, limit=REPLAYED_AT_ONCE):
            ids = [letter.id for letter in page.brief if letter.timestamp_ms <= last_ms][:left]
            replayed += await replayer.replay_all(ids)
            left = None if left is None else left - len(ids)
            if left == 0 or len(ids) < len(page.brief):
                break
        return replayed

    async def get_dead_letter_summary(self, *, samples: int = 3, look_at: int = 1000) -> DeadLetterSummary:
        """What kinds of failures there are, with samples, the age of the oldest letter, and how replays have ended.

        Without a dead letter queue of its own, this may be one itself: the letters of all queues in it are summed up.

        samples: letters read per kind, 0 to 20. look_at: the newest letters that are classified, up to 10,000.

        Raises:
            ValidationError: a number out of range.
        """
        if not 0 <= samples <= 20:
            raise ValidationError("samples must be between 0 and 20")
        if not 1 <= look_at <= MAX_LOOKED_AT:
            raise ValidationError(f"look_at must be between 1 and {MAX_LOOKED_AT}")
        configured = await self._dead_keys()
        dead, source = (configured, self.name) if configured is not None else (self.keys, None)
        counts = await self._execute(GetReplaysCommand(self._queue_key))
        letters, complete = await self._newest(dead, look_at, source)
        oldest = None
        if letters:
            oldest = letters[-1] if complete else await self._oldest(dead, source)
        classes = await asyncio.gather(
            *(self._class(dead, name, found, samples) for name, found in classified(letters).items())
        )
        return DeadLetterSummary(
            queue=dead.queue if configured is not None or letters else None,
            looked_at=len(letters),
            complete=complete,
            classes=list(classes),
            sources=dict(Counter(letter.source for letter in letters).most_common()),
            oldest=None if oldest is None else instant(oldest.timestamp_ms),
            oldest_age=None if oldest is None else max(counts.now_ms - oldest.timestamp_ms, 0) / 1000,
            replays=statistics_from(counts),
            on_the_way=counts.on_the_way,
            lost=counts.lost,
        )

    # -- beneath -----------------------------------------------------------------------------------------

    async def _dead_keys(self) -> QueueKeys | None:
        """The dead letter queue: this object's own, else the one that is stored."""
        if self._dead_letters is not None:
            return QueueKeys(self.keys.prefix, self._dead_letters.name)
        name = (await self._execute(GetSettingsCommand(self._queue_key))).dead_letter_queue
        return QueueKeys(self.keys.prefix, name) if name else None

    def _letters(self, dead: QueueKeys, *, brief: bool = False, limit: int = 0) -> AsyncIterator[LettersPage]:
        return self._pages(
            ListDeadLettersCommand(dead.meta, source=self.name, limit=limit or LETTERS_PER_PAGE, brief=brief)
        )

    async def _newest(
        self, dead: QueueKeys, count: int, source: str | None
    ) -> tuple[list[BriefLetter], bool]:
        """The newest letters, newest first, and whether they are all.

        source: of that queue; None: of all. Where nothing says that letters are to be expected, one page without any
        is the end of the search.
        """
        found: list[BriefLetter] = []
        limit = min(count + 1, LETTERS_PER_PAGE)
        listing = ListDeadLettersCommand(dead.meta, source=source, limit=limit, newest_first=True, brief=True)
        async for page in self._pages(listing):
            found += page.brief
            if len(found) > count:
                return found[:count], False
            if source is None and not page.brief:
                return found, page.following is None
        return found, True

    async def _oldest(self, dead: QueueKeys, source: str | None) -> BriefLetter | None:
        pages = 0
        async for page in self._pages(ListDeadLettersCommand(dead.meta, source=source, limit=1, brief=True)):
            pages += 1
            if page.brief or pages == PAGES_FOR_THE_OLDEST:
                return page.brief[0] if page.brief else None
        return None

    async def _class(
        self, dead: QueueKeys, name: str, letters: list[BriefLetter], samples: int
    ) -> FailureClass:
        found = await asyncio.gather(
            *(self._execute(GetJobCommand(dead.meta, job_id=letter.id)) for letter in letters[:samples])
        )
        jobs = [self._letter(dead, fields) for fields in found if fields is not None]
        return FailureClass(name, len(letters), instant(letters[0].timestamp_ms), jobs)

    def _letter(self, dead: QueueKeys, fields: Mapping[str, Any]) -> Job[Any, Any]:
        return Job[Any, Any].from_hash(
            fields, queue_key=dead.meta, connection=self._connection, payload=PLAIN_PAYLOAD
        )


def _origin(job: Job[Any, Any]) -> str | None:
    data = job.data
    return data.get("originalQueue") if isinstance(data, dict) else None  # pyright: ignore
