"""Scope "both": this host holds a block of the shared window's tokens, and spends it without asking."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from glidemq.clock import monotonic_ns
from glidemq.commands.lease_tokens import LeaseTokensCommand, TokenBlock
from glidemq.commands.token_allowance import TokensDealt
from glidemq.connection.connection import Connection
from glidemq.errors import GlideMQError
from glidemq.pipeline.limits.purse import Draw, Purse, TokenLimit, in_ms
from glidemq.pipeline.limits.waiting_room import Wake

log = logging.getLogger("glidemq.limits")

# A new block is fetched beside the work when this part of the last one is left.
REFILL_AT = 4
# As long as nobody knows how much will be spent, for so many times the free slots.
FIRST_BATCHES = 4
# What is spent is expected to go on at this multiple of its rate so far.
HEADROOM = 2
# A block that nobody spends from is looked after so often in a window.
IDLE_LOOKS = 10
NO_WINDOW = -1


class LeasedPurse(Purse):
    """One host's block of the window at `queue_key`, exchanged for a new one by `gmq_lease_tokens`.

    Owns: the block; on the server it counts as used. A block that is lost with its host is void when its window ends.
    Stops when: closed; what is left of the block then goes back.
    """

    def __init__(
        self, limit: TokenLimit, connection: Connection, queue_key: str, *, exact: bool = False
    ) -> None:
        """exact: take what the free slots need and no more."""
        super().__init__(limit)
        self._connection = connection
        self._queue_key = queue_key
        self._exact = exact
        self._held = 0
        self._window = NO_WINDOW
        self._ends_ns = 0  # the earliest moment at which the window may have ended
        self._last_grant = 0
        self._free = 0  # for everybody, after the last exchange
        self._overrun = 0
        self._refused_least = 0
        self._refused_until_ns = 0
        self._spent = self._spent_before = 0  # in this window, and in the one before it
        self._began_ns = 0  # when this window's first block came
        self._idle = True  # nothing was drawn since the last look
        self._leasing: asyncio.Task[None] | None = None
        self._look: asyncio.TimerHandle | None = None

    # -- Purse ----------------------------------------------------------------------------------------------

    def has(self, least: int, batch: int, wake: Wake) -> bool:
        """Whether the block suffices for one job; if not, a larger one is asked for."""
        least = min(least, self.limit.max_tokens)
        self._drop_if_over()
        if self._held >= least:
            if not self._exact and self._held * REFILL_AT < self._last_grant:
                self._lease(1, batch, beside=True)
            return True
        wait_ns = self._refused_until_ns - monotonic_ns()
        if wait_ns > 0 and least >= self._refused_least:
            self.room.admit(wake, wait_ns)
        else:
            self.room.admit(wake)
            self._lease(least, batch)
        return False

    @property
    def has_plenty(self) -> bool:
        """Whether at least half of the window was free when the last block was taken."""
        return 2 * self._free >= self.limit.max_tokens

    def draw(self, wanted: int) -> Draw:
        """Take them out of the block."""
        self._drop_if_over()
        tokens = min(wanted, self._held)
        self._held -= tokens
        self._idle = False
        return Draw(tokens, self._window)

    def dealt(self, draw: Draw, dealt: TokensDealt, reserved: int) -> int:
        """Put back what the call did not need; if the server says that the window is over, so is the block."""
        assert draw.left is not None and draw.window is not None
        self._spent += reserved
        if dealt.stale and draw.window == self._window:
            self._ends_ns = 0
        self.refund(draw.window, draw.left - reserved)
        return draw.window

    def lost(self, draw: Draw) -> None:
        """What was drawn counts as spent until the window ends."""

    def refund(self, window: int, tokens: int) -> None:
        """Back into the block, while its window lasts."""
        self._drop_if_over()
        if window == self._window and tokens > 0:
            self._held += tokens
            if self._refused_until_ns:
                self._refused_until_ns = 0
                self.room.wake_all()

    def overrun(self, tokens: int) -> None:
        """Out of the block; what it does not cover, the server is told soon."""
        self._drop_if_over()
        covered = min(tokens, self._held)
        self._held -= covered
        self._overrun += tokens - covered
        self._watch_over()

    async def close(self) -> None:
        """Return the block."""
        if self._look is not None:
            self._look.cancel()
        if self._leasing is not None:
            await asyncio.wait([self._leasing])
        self._drop_if_over()
        if self._held or self._overrun:
            with contextlib.suppress(GlideMQError):
                await self._exchange(0, 0, 0, held=self._held)
        self._held = 0
        await super().close()

    # -- leasing --------------------------------------------------------------------------------------------

    def _drop_if_over(self) -> None:
        if self._window != NO_WINDOW and monotonic_ns() >= self._ends_ns:
            self._window, self._held, self._refused_until_ns = NO_WINDOW, 0, 0
            self._spent_before, self._spent = self._spent, 0

    def _expected_spending(self, batch: int) -> int:
        """Tokens that this host may spend before the window ends, generously."""
        if self._exact:
            return 0
        now_ns = monotonic_ns()
        window_ns = self.limit.window_ms * 1_000_000
        left_ns = max(self._ends_ns - now_ns, 0) if self._window != NO_WINDOW else window_ns
        expected = self._spent_before * left_ns / window_ns
        if self._spent:
            expected = max(expected, self._spent * left_ns / max(now_ns - self._began_ns, 1_000_000))
        return max(int(HEADROOM * expected), FIRST_BATCHES * batch)

    def _lease(self, least: int, batch: int, *, beside: bool = False, keep: bool = False) -> None:
        """Begin to exchange the block, unless that is under way; `beside`: get another one, and keep this one."""
        if self._leasing is None:
            self._leasing = asyncio.get_running_loop().create_task(
                self._run_lease(least, batch, beside=beside, keep=keep)
            )

    async def _run_lease(self, least: int, batch: int, *, beside: bool, keep: bool) -> None:
        held = 0
        if not beside:
            held, self._held = self._held, 0  # nobody may draw from it while it may be returned
        most = 0 if keep else self._expected_spending(batch)
        try:
            block = await self._exchange(least, batch, most, held=held, keep=keep)
        except GlideMQError as error:
            log.debug("no tokens could be leased at %s: %s", self._queue_key, error)
            self._refuse(least, self.limit.patience_ms)
        else:
            if not block.granted and least and not beside:
                self._refuse(least, min(self.limit.patience_ms, block.ends_ms - block.now_ms + 1))
        finally:
            self._leasing = None
            self._watch_over()
            self.room.wake_all()

    async def _exchange(
        self, least: int, batch: int, most: int, *, held: int, keep: bool = False
    ) -> TokenBlock:
        overrun, self._overrun = self._overrun, 0
        asked_ns = monotonic_ns()
        try:
            block = await self._connection.execute(
                LeaseTokensCommand(
                    self._queue_key,
                    max=self.limit.max_tokens,
                    duration_ms=self.limit.window_ms,
                    least=least,
                    batch=batch,
                    most=most,
                    held=held,
                    window=max(self._window, 0),
                    overrun=overrun,
                    keep=keep,
                )
            )
        except GlideMQError:
            self._overrun += overrun  # perhaps counted twice: that is the safe side
            raise
        if block.window != self._window:
            if self._window != NO_WINDOW:
                self._spent_before, self._spent = self._spent, 0
            self._window, self._held, self._began_ns = block.window, 0, monotonic_ns()
        self._held += block.granted
        self._free = block.free
        if not keep:
            self._last_grant = block.granted
        # The reply is from between asking and now: from the earlier of the two on, the window may be over.
        self._ends_ns = asked_ns + (block.ends_ms - block.now_ms) * 1_000_000
        return block

    def _refuse(self, least: int, wait_ms: int) -> None:
        self._refused_least = least
        self._refused_until_ns = in_ms(wait_ms)

    # -- idling ---------------------------------------------------------------------------------------------

    def _watch_over(self) -> None:
        """Look after a while whether the block is still spent from, and whether an overrun is still untold."""
        if self._look is None and (self._held or self._overrun):
            interval_ms = max(self.limit.window_ms // IDLE_LOOKS, self.limit.patience_ms)
            self._look = asyncio.get_running_loop().call_later(interval_ms / 1000, self._look_after)

    def _look_after(self) -> None:
        self._look = None
        self._drop_if_over()
        idle, self._idle = self._idle, True
        if (self._held and idle) or self._overrun:
            self._lease(0, 0, keep=True)
        else:
            self._watch_over()
