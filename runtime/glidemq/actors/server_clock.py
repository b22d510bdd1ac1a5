"""What the server's clock shows, as far as its replies tell."""

from __future__ import annotations

from glidemq.clock import monotonic_ns


class ServerClock:
    """The server's clock by ours; forgotten when a call fails, since the server may then be another one.

    Never ahead of the server's, as long as that does not jump: a reply is older than its arrival.
    Written by: whoever gets replies with the server's time in them.
    """

    __slots__ = ("_offset_ms",)

    def __init__(self) -> None:
        self._offset_ms: int | None = None

    @property
    def known(self) -> bool:
        """True once a reply has come, until `forget`."""
        return self._offset_ms is not None

    def now_ms(self) -> int:
        """Milliseconds since the epoch; 0 while unknown."""
        return 0 if self._offset_ms is None else self._offset_ms + monotonic_ns() // 1_000_000

    def learn(self, now_ms: int) -> None:
        """Take the time in a reply that has just come."""
        self._offset_ms = now_ms - monotonic_ns() // 1_000_000

    def forget(self) -> None:
        """A call has failed: what was known may be wrong."""
        self._offset_ms = None
