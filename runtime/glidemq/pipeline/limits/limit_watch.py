"""Watches what providers have said about one limit key, on behalf of all queues that go by it."""

from __future__ import annotations

import asyncio
import logging

from glidemq.clock import monotonic_ns
from glidemq.commands.look_at_limit import LookAtLimitCommand, Share, ShareWanted
from glidemq.connection.connection import Connection
from glidemq.errors import GlideMQError
from glidemq.pipeline.limits.purse import in_ms
from glidemq.pipeline.limits.waiting_room import WaitingRoom, Wake

log = logging.getLogger("glidemq.limits")

# While jobs are started, the server is asked this often, beside the work.
LOOK_NS = 800_000_000
# After a pause longer than this, nothing starts before it was asked.
STALE_NS = 2_000_000_000
UNLIMITED = -1


class _LocalShare:
    """What this host may still use of what a provider has left."""

    __slots__ = ("amount", "ends_ns", "until_ms")

    def __init__(self) -> None:
        self.amount = UNLIMITED
        self.until_ms = 0
        self.ends_ns = 0

    def available(self) -> int:
        """UNLIMITED, or how much may be used now."""
        if self.amount != UNLIMITED and monotonic_ns() >= self.ends_ns:
            self.amount = UNLIMITED
        return self.amount

    def use(self, amount: int) -> None:
        if self.amount != UNLIMITED:
            self.amount = max(self.amount - amount, 0)

    def hand_in(self, batch: int) -> ShareWanted:
        """Nothing may be used of it while it is being exchanged."""
        held = max(self.amount, 0)
        if self.amount != UNLIMITED:
            self.amount = 0
        return ShareWanted(batch, held, self.until_ms)

    def take(self, share: Share) -> None:
        self.amount, self.until_ms, self.ends_ns = share.amount, share.until_ms, in_ms(share.lasts_ms)


class LimitWatch:
    """What holds for one limit key, as far as this host knows; at most a second old while jobs start.

    Owns: this host's shares, and the one call in flight. Written by: the queues' gates.
    """

    def __init__(self, connection: Connection, limit_meta_key: str) -> None:
        self._connection = connection
        self._key = limit_meta_key
        self._room = WaitingRoom()
        self._looked_ns = -STALE_NS
        self._held_until_ns = 0
        self._requests = _LocalShare()
        self._tokens = _LocalShare()
        self._looking: asyncio.Task[None] | None = None

    def admit(self, slots: int, typical_tokens: int, wake: Wake) -> int:
        """How many of `slots` jobs may start now; if none, `wake` is called when that may have changed."""
        now_ns = monotonic_ns()
        age_ns = now_ns - self._looked_ns
        if age_ns >= LOOK_NS:
            self._look(slots, typical_tokens)
        if age_ns >= STALE_NS:
            self._room.admit(wake)
            return 0
        if self._held_until_ns > now_ns:
            self._room.admit(wake, self._held_until_ns - now_ns)
            return 0
        allowed = slots
        requests, tokens = self._requests.available(), self._tokens.available()
        if requests != UNLIMITED:
            allowed = min(allowed, requests)
        if tokens != UNLIMITED:
            allowed = min(allowed, -(-tokens // max(typical_tokens, 1)))
        if allowed <= 0:
            # Others may hand in what they have not used: the next look tells.
            self._room.admit(wake, max(LOOK_NS - age_ns, 0) + 1_000_000)
        return allowed

    def started(self, jobs: int, tokens: int) -> None:
        """So many jobs have started, which are expected to use so many tokens."""
        self._requests.use(jobs)
        self._tokens.use(tokens)

    def _look(self, slots: int, typical_tokens: int) -> None:
        if self._looking is None:
            self._looking = asyncio.get_running_loop().create_task(
                self._run_look(slots, slots * typical_tokens)
            )

    async def _run_look(self, requests: int, tokens: int) -> None:
        # A share that nobody can hand in any more is void when its period ends.
        command = LookAtLimitCommand(
            self._key, requests=self._requests.hand_in(requests), tokens=self._tokens.hand_in(tokens)
        )
        try:
            seen = await self._connection.execute(command)
        except GlideMQError as error:
            log.debug("the limit at %s could not be looked at: %s", self._key, error)
            self._looked_ns = monotonic_ns() - LOOK_NS // 2  # soon again; what was known still holds
        else:
            self._looked_ns = monotonic_ns()
            self._hold(seen.hold_ms)
            self._requests.take(seen.requests)
            self._tokens.take(seen.tokens)
        finally:
            self._looking = None
            self._room.wake_all()

    def _hold(self, hold_ms: int) -> None:
        if hold_ms and not self._held_until_ns:  # once, however often it is prolonged
            log.info(
                "limit %s: its provider refuses, so no job of a queue with this limit key starts here for %.3g s",
                self._key.partition("{limit:")[2].rpartition("}")[0],
                hold_ms / 1000,
            )
        self._held_until_ns = in_ms(hold_ms) if hold_ms else 0

    async def close(self) -> None:
        """Watch no longer."""
        if self._looking is not None:
            await asyncio.wait([self._looking])
        self._room.close()
