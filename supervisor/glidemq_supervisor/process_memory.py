"""Resident memory of a process."""

from __future__ import annotations

import psutil


def resident_bytes(pid: int) -> int | None:
    """RSS in bytes; None when the process is gone."""
    try:
        rss: int = psutil.Process(pid).memory_info().rss
    except psutil.Error:
        return None
    return rss
