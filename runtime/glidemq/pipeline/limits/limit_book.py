"""The limits that this cell's queues go by; those that share one also share what is held of it here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from glidemq.commands.keys import limit_meta_key
from glidemq.connection.connection import Connection
from glidemq.options.token_limiter import QueueLimits
from glidemq.pipeline.limits.counted_purse import CountedPurse
from glidemq.pipeline.limits.leased_purse import LeasedPurse
from glidemq.pipeline.limits.limit_watch import LimitWatch
from glidemq.pipeline.limits.purse import Purse, TokenLimit
from glidemq.pipeline.limits.start_gate import OPEN_GATE, StartGate
from glidemq.pipeline.limits.token_gate import TokenGate
from glidemq.pipeline.limits.worker_purse import WorkerPurse

if TYPE_CHECKING:
    from glidemq.pipeline.queue_pump import QueuePump


class LimitBook:
    """Makes the gates of a cell's queues.

    Owns: the purses and watches, by the keys on the server that they stand for. Stops when: closed.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._purses: dict[tuple[str, str, TokenLimit], Purse] = {}
        self._watches: dict[str, LimitWatch] = {}

    def gate_of(self, pump: QueuePump) -> StartGate:
        """A gate for a queue with its present settings."""
        settings = pump.settings
        limits = settings.limits
        if limits is None:
            return OPEN_GATE
        own_key = settings.keys.meta
        limit_key = limit_meta_key(settings.prefix, limits.limit_key or settings.queue)
        # A queue that has its limits to itself counts where Node counts too.
        shared = limits.limit_key is not None and limits.limit_key != settings.queue
        purse = self._purse(limits, limit_key if shared else own_key, shared=shared)
        return TokenGate(limits, purse, self._watch(limit_key), pump.poll)

    def _purse(self, limits: QueueLimits, key: str, *, shared: bool) -> Purse | None:
        if not limits.max_tokens:
            return None
        limit = TokenLimit(limits.max_tokens, limits.window_ms)
        name = (limits.scope, key, limit)
        purse = self._purses.get(name)
        if purse is None:
            purse = self._purses[name] = self._new_purse(limits, limit, key, shared=shared)
        return purse

    def _new_purse(self, limits: QueueLimits, limit: TokenLimit, key: str, *, shared: bool) -> Purse:
        if limits.scope == "worker":
            return WorkerPurse(limit)
        if limits.scope == "queue" and not shared:
            return CountedPurse(limit)
        # A shared limit's window is in another slot than the queue: no call can reach both.
        return LeasedPurse(limit, self._connection, key, exact=limits.scope == "queue")

    def _watch(self, limit_key: str) -> LimitWatch:
        watch = self._watches.get(limit_key)
        if watch is None:
            watch = self._watches[limit_key] = LimitWatch(self._connection, limit_key)
        return watch

    async def close(self) -> None:
        """Return what was not spent."""
        for purse in self._purses.values():
            await purse.close()
        for watch in self._watches.values():
            await watch.close()
