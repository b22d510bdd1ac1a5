"""A unit of CPU-bound work whose size can be chosen."""

from __future__ import annotations

import time

_MASK = 0xFFFF_FFFF


def spin(loops: int) -> int:
    """A fixed amount of pure-Python work that holds the GIL; its result keeps it from being skipped."""
    x = 1
    for _ in range(loops):
        x = (x * 1_103_515_245 + 12_345) & _MASK
    return x


def loops_for(seconds: float) -> int:
    """How many loops of `spin` take this long on this machine, undisturbed (the best of several tries)."""
    probe = 20_000
    best = min(_spin_time(probe) for _ in range(15))
    return max(1, round(probe * seconds / best))


def _spin_time(loops: int) -> float:
    begin = time.thread_time()
    spin(loops)
    return time.thread_time() - begin
