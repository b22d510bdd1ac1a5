"""Fires job schedulers: adds the job of every slot that is due."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Iterable

from glidemq.actors.actor import Actor
from glidemq.clock import monotonic_ns
from glidemq.commands.fire_schedulers import (
    CANNOT_TELL,
    DueSlot,
    FireSchedulersCommand,
    FollowedSlot,
    SchedulerTick,
)
from glidemq.commands.keys import QueueKeys
from glidemq.connection.connection import Connection
from glidemq.errors import GlideMQError, ValidationError
from glidemq.options.cron import next_cron_run

log = logging.getLogger("glidemq.actors")

# A queue without schedulers is asked this often whether it has some.
IDLE_S = 1.0
# A firing keeps the server busy for about 0.1 ms.
FIRED_PER_CALL = 50
CALLS_PER_TICK = 40
# As Node holds the lock: twice the interval, within these bounds.
SHORTEST_LOCK_MS, LONGEST_LOCK_MS = 1_000, 5_000
COMPLAINTS_REMEMBERED = 1_000


class Scheduler(Actor):
    """Ticks the schedulers of the cell's queues when they are due, and looks at `interval_s` for changes.

    Needs no leader: a slot fires once whoever ticks, since the server compares before it adds. A tick that takes
    two calls, as a cron pattern does whose next slot is computed here, holds the lock that Node honours, and
    renews it with every call; it is not held longer, because nobody can change a scheduler meanwhile.
    Owns: when to look at which queue.
    """

    name = "scheduler"

    def __init__(
        self, *, connection: Connection, queues: Callable[[], Iterable[QueueKeys]], interval_s: float
    ) -> None:
        super().__init__()
        self._connection = connection
        self._queues = queues
        self._interval_s = interval_s
        self._token = secrets.token_hex(8)
        self._lock_ms = min(max(int(2000 * interval_s), SHORTEST_LOCK_MS), LONGEST_LOCK_MS)
        self._next_look_ns: dict[QueueKeys, int] = {}
        self._complaints: set[tuple[QueueKeys, bytes]] = set()

    async def run(self) -> None:
        """Look at the queues that are due, all in one turn so that they share a batch; sleep until the next."""
        while True:
            now_ns = monotonic_ns()
            looks = {queue: self._next_look_ns.get(queue, 0) for queue in self._queues()}
            self._next_look_ns = looks
            await asyncio.gather(*(self._look(queue) for queue, at_ns in looks.items() if at_ns <= now_ns))
            next_ns = min(looks.values(), default=now_ns + int(IDLE_S * 1e9))
            await asyncio.sleep(max(next_ns - monotonic_ns(), 0) / 1e9)

    async def _look(self, queue: QueueKeys) -> None:
        try:
            wait_s = await self._tick(queue)
        except GlideMQError as error:
            log.debug("schedulers of %s: %s; trying again in %.1f s", queue, error, self._interval_s)
            wait_s = self._interval_s
        self._next_look_ns[queue] = monotonic_ns() + int(wait_s * 1e9)

    async def _tick(self, queue: QueueKeys) -> float:
        """Fire what is due; returns the seconds until the next look."""
        following: list[FollowedSlot] = []
        for _ in range(CALLS_PER_TICK):
            tick = await self._connection.execute(
                FireSchedulersCommand(
                    queue.meta,
                    token=self._token,
                    lock_ms=self._lock_ms,
                    limit=FIRED_PER_CALL,
                    following=following,
                )
            )
            self._report(queue, tick)
            if tick.busy_ms is not None:
                return self._within_interval(tick.busy_ms)
            if tick.next_look_ms < 0:
                return max(IDLE_S, self._interval_s)
            if not tick.wanted and tick.next_look_ms > tick.now_ms:
                return self._within_interval(tick.next_look_ms - tick.now_ms)
            following = [self._follow(queue, slot, tick.now_ms) for slot in tick.wanted]
        return 0.0

    def _within_interval(self, ms: int) -> float:
        # A millisecond late is punctual, one early is another call.
        return min((ms + 1) / 1000, self._interval_s)

    def _follow(self, queue: QueueKeys, slot: DueSlot, now_ms: int) -> FollowedSlot:
        try:
            tz = slot.tz.decode() if slot.tz else None
            return slot.followed_by(next_cron_run(slot.pattern.decode(), tz, now_ms))
        except (ValidationError, UnicodeDecodeError) as error:
            self._complain(queue, slot.name, f"cannot run here: {error}")
            return slot.followed_by(CANNOT_TELL)

    def _report(self, queue: QueueKeys, tick: SchedulerTick) -> None:
        for name, job_id in tick.fired:
            log.debug("scheduler %r of queue %r added job %s", _text(name), queue.queue, _text(job_id))
        for name in tick.refused:
            self._complain(queue, name, "is not run: the data of its template exceeds 1 MiB")

    def _complain(self, queue: QueueKeys, name: bytes, complaint: str) -> None:
        """Log once."""
        if (queue, name) not in self._complaints:
            if len(self._complaints) >= COMPLAINTS_REMEMBERED:
                self._complaints.clear()
            self._complaints.add((queue, name))
            log.error("scheduler %r of queue %r %s", _text(name), queue.queue, complaint)


def _text(raw: bytes) -> str:
    return raw.decode(errors="replace")
