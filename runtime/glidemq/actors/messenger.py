"""Carries what other queues must hear of: reads the outboxes of this cell's queues and tells whom the letters name."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from glidemq.actors.actor import PeriodicActor
from glidemq.commands import answer_budgets, hear_budgets, hear_children
from glidemq.commands.answer_budgets import AnswerBudgetsCommand, Answered, RefusedByBudget
from glidemq.commands.clear_outbox import ClearOutboxCommand
from glidemq.commands.command import Command
from glidemq.commands.hear_budgets import HearBudgetsCommand
from glidemq.commands.hear_children import HearChildrenCommand
from glidemq.commands.read_outbox import Letter, ReadOutboxCommand
from glidemq.connection.connection import Connection
from glidemq.errors import ConnectionError, GlideMQError
from glidemq.pipeline.queue_pump import QueuePump

log = logging.getLogger("glidemq.actors")

LETTERS_PER_CALL = 100
# Younger letters are left to the cell that caused them, which hears of it at once.
PATIENCE_MS = 1_000
# What nobody could deliver for so long, nobody will: a key of a foreign type stands in its way, say.
LONGEST_MS = 24 * 3600 * 1000

# kind -> the command that takes such rows in the addressed queue, and says whether that queue has letters now.
DELIVERIES: Mapping[bytes, Callable[[str, Sequence[bytes]], Command[Any]]] = {
    hear_children.KIND: lambda queue_key, rows: HearChildrenCommand(queue_key, rows=rows),
    hear_budgets.KIND: lambda queue_key, rows: HearBudgetsCommand(queue_key, rows=rows),
    answer_budgets.KIND: lambda queue_key, rows: AnswerBudgetsCommand(queue_key, rows=rows),
}


class Messenger(PeriodicActor):
    """Delivers letters between queues, which may be different slots of a cluster.

    Whoever serves a queue carries its letters, and clears them afterwards: a death in between repeats a delivery, which
    changes nothing. What this cell's own calls post is carried at once, the rest after a while.
    Written by: the pumps (`posted`). Stops when: `stop` is called; letters stay where they are.
    """

    name = "messenger"

    def __init__(
        self,
        *,
        connection: Connection,
        pumps: Callable[[], Iterable[QueuePump]],
        refused: Callable[[str, RefusedByBudget], None] = lambda _key, _refused: None,
        interval_s: float = 1.0,
    ) -> None:
        """refused: to be told of jobs of the queue with this key that a budget elsewhere has refused."""
        super().__init__(interval_s)
        self._refused = refused
        self._connection = connection
        self._pumps = pumps
        self._posted: set[str] = set()
        self._wake = asyncio.Event()

    def posted(self, pump: QueuePump) -> None:
        """A call of this queue has left a letter."""
        self.posted_in(pump.keys.meta)

    def posted_in(self, queue_key: str) -> None:
        """The queue of this key, served here or not, holds a letter."""
        self._posted.add(queue_key)
        self._wake.set()

    async def run(self) -> None:
        """Look at all queues at the interval, and at once at those that have posted."""
        loop = asyncio.get_running_loop()
        next_round_s = loop.time()
        while True:
            try:
                if loop.time() >= next_round_s:
                    next_round_s = loop.time() + self.interval_s
                    await self.tick()
                while self._posted:
                    await self._carry_all(self._posted.pop(), 0)
            except GlideMQError as error:
                log.debug("%s: %s; trying again in %.1f s", self.name, error, self.interval_s)
            self._wake.clear()
            if not self._posted:
                try:
                    async with asyncio.timeout(max(next_round_s - loop.time(), 0)):
                        await self._wake.wait()
                except TimeoutError:
                    pass

    async def tick(self) -> None:
        """Carry what others have left lying, in every queue."""
        queues = [pump.keys.meta for pump in self._pumps()]
        results = await asyncio.gather(
            *(self._carry_all(queue_key, PATIENCE_MS) for queue_key in queues), return_exceptions=True
        )
        for error in results:
            if isinstance(error, BaseException):
                raise error

    async def _carry_all(self, queue_key: str, min_age_ms: int) -> None:
        """Every letter of one queue, once; one that cannot be delivered keeps no other from it."""
        after = ""
        while True:
            page = await self._connection.execute(
                ReadOutboxCommand(queue_key, limit=LETTERS_PER_CALL, min_age_ms=min_age_ms, after=after)
            )
            if page.letters:
                await self._carry(queue_key, page.letters)
            after = page.next
            if not after:
                return

    async def _carry(self, queue_key: str, letters: Sequence[Letter]) -> None:
        addressed: dict[tuple[bytes, bytes], list[Letter]] = {}
        for letter in letters:
            addressed.setdefault((letter.kind, letter.to), []).append(letter)
        delivered = await asyncio.gather(
            *(self._deliver(queue_key, kind, to, some) for (kind, to), some in addressed.items())
        )
        entry_ids = [letter.entry_id for some in delivered for letter in some]
        if entry_ids:
            await self._connection.execute(ClearOutboxCommand(queue_key, entry_ids=entry_ids))

    async def _deliver(
        self, queue_key: str, kind: bytes, to: bytes, letters: Sequence[Letter]
    ) -> Sequence[Letter]:
        """Those that may be cleared."""
        command_for = DELIVERIES.get(kind)
        if command_for is None:  # a newer version's, and somebody of that version carries it
            return [letter for letter in letters if self._is_hopeless(queue_key, letter, "unknown kind")]
        target = f"{to.decode(errors='replace')}:meta"
        try:
            posted: Any = await self._connection.execute(
                command_for(target, [letter.body for letter in letters])
            )
        except ConnectionError:
            raise
        except GlideMQError as error:
            if len(letters) > 1:  # one of them may be what the queue cannot take
                alone = [await self._deliver(queue_key, kind, to, [letter]) for letter in letters]
                return [letter for some in alone for letter in some]
            return [letter for letter in letters if self._is_hopeless(queue_key, letter, str(error))]
        if isinstance(posted, Answered):
            for refused in posted.refused:
                self._refused(target, refused)
            posted = posted.posted
        if posted:
            self._posted.add(target)
        return letters

    @staticmethod
    def _is_hopeless(queue_key: str, letter: Letter, why: str) -> bool:
        if letter.age_ms < LONGEST_MS:
            return False
        log.error(
            "a letter from %s to %r of kind %r is given up after a day: %s",
            queue_key,
            letter.to,
            letter.kind,
            why,
        )
        return True
