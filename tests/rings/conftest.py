"""A ring per test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.rings.ring_in_memory import RingInMemory


@pytest.fixture
def ring() -> Iterator[RingInMemory]:
    """A ring of 4 KiB with four spill slots of 64 KiB."""
    ring = RingInMemory()
    yield ring
    ring.close()
