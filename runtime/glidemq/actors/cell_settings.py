"""What a cell is told about itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CellSettings:
    """Identity and intervals of a cell, in seconds (defaults: ruling 6).

    cluster: whether its queues may live on different servers.
    """

    consumer: str
    block: float = 1.0
    promotion_interval: float = 0.25
    stalled_interval: float = 30.0
    max_stalled_count: int = 1
    cluster: bool = False
