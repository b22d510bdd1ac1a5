"""What a queue pump asks before it asks the server for jobs, and tells about what became of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from glidemq.commands.token_allowance import TokenAllowance, TokensDealt

if TYPE_CHECKING:
    from glidemq.pipeline.lease import Lease


class Reservation(NamedTuple):
    """The tokens that a running job was let start with.

    estimate: what it is taken to use. stated: by its producer or its processor, not learned. window: in which it
    started.
    """

    estimate: int
    stated: bool
    window: int


class StartGate(Protocol):
    """Decides whether a queue's jobs may start now. When that changes from no to yes, it has the pump ask again.

    Every `draw` is followed by `dealt`, or by `lost` if nobody knows what the server did. Every started job ends once:
    with `ended`, or with `returned` if it never ran.
    """

    def admit(self, slots: int, ahead: int) -> tuple[int, int]:
        """How many of `slots` jobs may start now, as far as is known here, and how many of `ahead` wait behind them."""
        ...

    def draw(self, jobs: int) -> TokenAllowance | None:
        """What the next call, for up to so many jobs, may spend; None: the server need not look at tokens."""
        ...

    def dealt(self, leases: Sequence[Lease], dealt: TokensDealt | None) -> None:
        """The call has started these jobs, with what was drawn for it."""
        ...

    def lost(self) -> None:
        """The call has failed, perhaps after it was executed."""
        ...

    def ended(self, lease: Lease, tokens: int, *, succeeded: bool) -> None:
        """A job has used so many tokens; -1 when its processor did not say, or died."""
        ...

    def returned(self, lease: Lease) -> None:
        """A job goes back unstarted."""
        ...

    def close(self) -> None:
        """The queue is asked for no more."""
        ...


class OpenGate:
    """The gate of a queue without limits."""

    def admit(self, slots: int, ahead: int) -> tuple[int, int]:
        """All of them."""
        return slots, ahead

    def draw(self, jobs: int) -> TokenAllowance | None:
        """Nothing needs to be allowed."""
        return None

    def dealt(self, leases: Sequence[Lease], dealt: TokensDealt | None) -> None:
        """Nothing to note."""

    def lost(self) -> None:
        """Nothing was drawn."""

    def ended(self, lease: Lease, tokens: int, *, succeeded: bool) -> None:
        """Nothing to settle."""

    def returned(self, lease: Lease) -> None:
        """Nothing to settle."""

    def close(self) -> None:
        """Nothing to stop."""


OPEN_GATE = OpenGate()
