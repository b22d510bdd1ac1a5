"""Carries dead letters from the outbox of the queue where jobs failed to the queue that collects them."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence

from glidemq.commands.add_dead_letters import AddDeadLettersCommand, AddressedLetter
from glidemq.commands.clear_dead_letters import ClearDeadLettersCommand
from glidemq.commands.keys import QueueKeys
from glidemq.commands.take_dead_letters import Letter, Letters, TakeDeadLettersCommand
from glidemq.connection.connection import Connection
from glidemq.payload.dead_letter import envelope_of

log = logging.getLogger("glidemq.dead_letters")

LETTERS_PER_CALL = 100
LEASE_MS = 5_000

# How soon to look again: for letters, at a queue that may have some, at one without a dead letter queue.
CONFIGURED_S = 0.5
UNCONFIGURED_S = 5.0


class DeadLetterCarrier:
    """Takes the letters of one queue, adds them to theirs, and clears them, in this order, so that a death in between
    loses none; the receiving queue remembers what has arrived, so that it doubles none.

    The two queues may lie in different slots of a cluster. One carrier at a time holds the outbox, to save work.
    """

    def __init__(self, connection: Connection, keys: QueueKeys) -> None:
        self._connection = connection
        self._keys = keys
        self._token = secrets.token_hex(8)
        self._lost = 0

    async def carry(self) -> float:
        """Carry what there is; the seconds until the next look. Raises GlideMQError; the rest stays in the outbox."""
        while True:
            taken = await self._connection.execute(
                TakeDeadLettersCommand(
                    self._keys.meta, token=self._token, lease_ms=LEASE_MS, limit=LETTERS_PER_CALL
                )
            )
            self._complain(taken.lost)
            if taken.busy_ms:
                return min(taken.busy_ms / 1000, CONFIGURED_S)
            if not taken.letters:
                return CONFIGURED_S if taken.configured else UNCONFIGURED_S
            if not await self._deliver(taken):
                return CONFIGURED_S

    async def _deliver(self, taken: Letters) -> bool:
        """Bring a page to its queues. False when there is nothing to go on with at once."""
        arrived: list[bytes] = []
        for to in dict.fromkeys(letter.to for letter in taken.letters):
            letters = [letter for letter in taken.letters if letter.to == to]
            if not await self._add(to.decode(), letters, taken):
                return False
            arrived += [letter.entry_id for letter in letters]
        left = await self._connection.execute(
            ClearDeadLettersCommand(
                self._keys.meta, token=self._token, read_at_ms=taken.now_ms, entries=arrived
            )
        )
        return bool(left)

    async def _add(self, to: str, letters: Sequence[Letter], taken: Letters) -> bool:
        ids = await self._connection.execute(
            AddDeadLettersCommand(
                QueueKeys(self._keys.prefix, to).meta,
                source=self._keys.queue,
                read_at_ms=taken.now_ms,
                oldest=taken.letters[0].entry_id,
                letters=[self._addressed(letter) for letter in letters],
            )
        )
        if ids is None:
            log.warning(
                "the dead letters of queue %r came to %r later than their outbox allows: this host was stopped, or the"
                " clocks of two servers differ by a minute; they are read again",
                self._keys.queue,
                to,
            )
            return False
        log.debug("%d jobs of queue %r are dead letters in %r now", len(ids), self._keys.queue, to)
        return True

    def _addressed(self, letter: Letter) -> AddressedLetter:
        envelope, data = envelope_of(
            queue=self._keys.queue,
            job_id=letter.job_id,
            data=letter.data,
            reason=letter.reason,
            attempts=letter.attempts,
        )
        return AddressedLetter(
            letter.entry_id,
            letter.job_id,
            letter.name,
            envelope,
            data if data is not None else False,
            letter.opts,
            letter.error,
            letter.reason,
        )

    def _complain(self, lost: int) -> None:
        if lost > self._lost:
            self._lost = lost
            log.error(
                "the outbox of queue %r overflowed: %d of its failed jobs never came to the dead letter queue;"
                " see its failed jobs",
                self._keys.queue,
                lost,
            )
