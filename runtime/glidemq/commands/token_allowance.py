"""What a step may let its jobs use of a window's tokens, as the server library takes and answers it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class TokenAllowance(NamedTuple):
    """The jobs that start may use so many tokens, by their estimates.

    max: tokens per window of `duration_ms`. default: the estimate of a job that states none and whose name is not
    among `names`. overtake: let jobs past one that does not fit. left: tokens lent to the caller, in window number
    `window` (None: a window of the caller's own); None: they are counted in the queue's window on the server, where
    `overrun` is added, and `refund` taken off if `refund_window` is still the present one.
    """

    max: int
    duration_ms: int
    default: int
    names: Mapping[bytes, int]
    overtake: bool = False
    left: int | None = None
    window: int | None = None
    overrun: int = 0
    refund: int = 0
    refund_window: int = 0


class TokensDealt(NamedTuple):
    """What became of an allowance.

    estimates: of each started job, in order. short: the least estimate that did not fit, 0 if all did. left: what
    is left of it. window, ends_in_ms: the queue's window by the server's clock; 0 for lent tokens. stale: the window
    of the lent tokens has ended, so that nothing could start.
    """

    estimates: list[int]
    short: int
    left: int
    window: int
    ends_in_ms: int
    stale: bool


def tokens_member(allowance: TokenAllowance | None) -> dict[str, Any] | bool:
    """The allowance as the member `tokens` of a call; False without one."""
    if allowance is None:
        return False
    members = allowance._asdict()
    members["left"] = False if allowance.left is None else allowance.left
    members["window"] = False if allowance.window is None else allowance.window
    members["names"] = allowance.names or False
    return members


def tokens_dealt(reply: list[Any] | None) -> TokensDealt | None:
    """What the server library answered, if there was an allowance."""
    if reply is None:
        return None
    estimates, short, left, window, ends_in_ms, stale = reply
    return TokensDealt(estimates, short, left, window, ends_in_ms, bool(stale))
