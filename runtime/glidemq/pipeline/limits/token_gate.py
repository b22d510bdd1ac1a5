"""The gate of a queue with limits: tokens, and what the provider itself has said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from glidemq.commands.token_allowance import TokenAllowance, TokensDealt
from glidemq.options.token_limiter import QueueLimits
from glidemq.pipeline.limits.limit_watch import LimitWatch
from glidemq.pipeline.limits.purse import Draw, Purse
from glidemq.pipeline.limits.start_gate import Reservation
from glidemq.pipeline.limits.token_estimates import TokenEstimates
from glidemq.pipeline.limits.waiting_room import Wake
from glidemq.pipeline.outcome import NOTHING_LEARNED

if TYPE_CHECKING:
    from glidemq.pipeline.lease import Lease

# Drawn for each job, in terms of a typical job: what a call does not need comes back with its reply.
GENEROSITY = 2
SMOOTHING = 0.125
NO_NAMES: Mapping[bytes, int] = {}
STATED = b'"estimatedTokens"'


class TokenGate:
    """One queue's way to start jobs within the limits.

    Written by: the queue pump. Owns: what is known of its jobs' sizes, and the draw of the one call in flight.
    """

    def __init__(self, limits: QueueLimits, purse: Purse | None, watch: LimitWatch, wake: Wake) -> None:
        """purse: None without a token limiter. wake: has the pump ask again."""
        self._limits = limits
        self._purse = purse
        self._watch = watch
        self._wake = wake
        self._estimates = TokenEstimates(limits.max_tokens)
        self._typical = float(self._default)
        self._short = 0  # what the first job that waits needs, as far as a call has told
        self._drawn: Draw | None = None

    @property
    def _default(self) -> int:
        stated = self._limits.estimated_tokens
        return self._estimates.unknown if stated is None else stated

    def admit(self, slots: int, ahead: int) -> tuple[int, int]:
        """As many as the provider lets start, if there are tokens for the job that is next.

        Jobs that wait in a ring hold tokens that another host could use now: so none do unless there is plenty.
        """
        purse = self._purse
        if purse is not None and not purse.has_plenty:
            ahead = 0
        if slots + ahead <= 0:
            return 0, 0
        allowed = max(self._watch.admit(slots + ahead, int(self._typical), self._wake), 0)
        slots = min(slots, allowed)
        ahead = min(ahead, allowed - slots)
        if allowed and purse and not purse.has(self._least, self._batch(slots + ahead), self._wake):
            return 0, 0
        return slots, ahead

    @property
    def _least(self) -> int:
        # Before anything was refused, nobody knows how small the next job is.
        return max(self._short, 1)

    def _batch(self, jobs: int) -> int:
        return max(int(self._typical * jobs), self._least)

    def draw(self, jobs: int) -> TokenAllowance | None:
        """Tokens for the next call."""
        purse = self._purse
        if purse is None or jobs <= 0:
            return None
        limits = self._limits
        drawn = self._drawn = purse.draw(GENEROSITY * self._batch(jobs))
        return TokenAllowance(
            limits.max_tokens,
            limits.window_ms,
            self._default,
            self._estimates.by_name if limits.estimated_tokens is None else NO_NAMES,
            limits.allow_overtaking,
            drawn.left,
            drawn.window,
            drawn.overrun,
            drawn.refund,
            drawn.refund_window,
        )

    def dealt(self, leases: Sequence[Lease], dealt: TokensDealt | None) -> None:
        """Note what each job was let start with."""
        purse, drawn = self._purse, self._drawn
        self._drawn = None
        self._watch.started(len(leases), sum(dealt.estimates) if dealt is not None else 0)
        if purse is None or drawn is None or dealt is None:
            return
        self._short = dealt.short
        if dealt.short:
            self._wake()  # the server takes the queue for blocked; whether it is, the purse knows
        reserved = sum(min(estimate, self._limits.max_tokens) for estimate in dealt.estimates)
        window = purse.dealt(drawn, dealt, reserved)
        from_processor = self._limits.estimated_tokens is not None
        for lease, estimate in zip(leases, dealt.estimates, strict=True):
            lease.reservation = Reservation(estimate, from_processor or STATED in lease.opts, window)
            self._typical += SMOOTHING * (estimate - self._typical)

    def lost(self) -> None:
        """Count what was drawn as spent."""
        if self._purse is not None and self._drawn is not None:
            self._purse.lost(self._drawn)
        self._drawn = None

    def ended(self, lease: Lease, tokens: int, *, succeeded: bool) -> None:
        """Settle the job's reservation.

        What was not used is free again while the window lasts; what was used beyond counts now. A job that says
        nothing has used what was stated for it. Where nothing was stated, one that succeeds in silence has used none,
        and one that fails is not learned from.
        """
        reservation = lease.reservation
        lease.reservation = None
        if reservation is None or self._purse is None:
            return
        if tokens < 0 and (reservation.stated or not succeeded or tokens == NOTHING_LEARNED):
            return
        used = max(tokens, 0)
        self._estimates.learn(lease.name, used)
        self._settle(reservation, used)

    def returned(self, lease: Lease) -> None:
        """It has used nothing."""
        reservation = lease.reservation
        lease.reservation = None
        if reservation is not None and self._purse is not None:
            self._settle(reservation, 0)

    def _settle(self, reservation: Reservation, used: int) -> None:
        purse = self._purse
        assert purse is not None
        reserved = min(reservation.estimate, self._limits.max_tokens)
        if used < reserved:
            purse.refund(reservation.window, reserved - used)
        elif used > reservation.estimate:
            purse.overrun(used - reservation.estimate)

    def close(self) -> None:
        """Wait for nothing any more."""
        self._wake = _ignore


def _ignore() -> None:
    """Called when a gate opens that nobody waits for."""
