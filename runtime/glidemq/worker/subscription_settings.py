"""What a broadcast worker goes by."""

from __future__ import annotations

from dataclasses import dataclass

from glidemq.pipeline.lease import MAX_BEAT_INTERVAL_MS
from glidemq.pipeline.pump_context import QueueSettings


@dataclass(frozen=True, slots=True)
class SubscriptionSettings:
    """Who reads what, and how often the rest is looked after, in seconds."""

    queue: QueueSettings
    subscription: str
    start_from: str
    consumer: str
    block_s: float
    promotion_interval_s: float
    stalled_interval_s: float
    max_stalled_count: int

    @property
    def beat_s(self) -> float:
        """How often the server hears of the messages in hand: half of the lock, at least every 10 s (ruling 3)."""
        return min(self.queue.lock_ms / 2, MAX_BEAT_INTERVAL_MS) / 1000
