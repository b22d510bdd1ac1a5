"""Which descriptors the supervisor has opened, so that each child closes those that are not its own."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable


class DescriptorLedger:
    """The descriptors that the supervisor made and that a fork would leak into every child.

    A blanket `closerange` would also close what the user, a tracer or a library opened on purpose; the
    ledger closes only what it knows. Owns: nothing, the makers close. Written by: whoever opens a
    descriptor in the supervisor. Read by: the forker, in the child.
    """

    def __init__(self) -> None:
        self._descriptors: set[int] = set()

    def record(self, *descriptors: int) -> None:
        self._descriptors.update(descriptors)

    def forget(self, *descriptors: int) -> None:
        """The maker is about to close them; their numbers may be used again for something else."""
        self._descriptors.difference_update(descriptors)

    def __contains__(self, descriptor: int) -> bool:
        return descriptor in self._descriptors

    def close_others(self, keep: Iterable[int]) -> None:
        """In a child: close every recorded descriptor but those in `keep`."""
        kept = frozenset(keep)
        for descriptor in self._descriptors - kept:
            with contextlib.suppress(OSError):  # a fork hook of the maker was quicker
                os.close(descriptor)
        self._descriptors &= kept
