"""Pools: sets of actor processes of their own, so that one kind of work cannot crowd out another."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from glidemq.errors import ValidationError

PoolSize: TypeAlias = int | Literal["auto"]
"""Actor processes of a pool; "auto": one per core that the host's supervisor may use."""

# The pool of every processor that names none.
DEFAULT_POOL: Final = "default"
MAX_PROCS: Final = 1024
MAX_WEIGHT: Final = 1000
# What a name must look like: it appears in `--pool fast=2,slow=auto` and in process titles.
POOL_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}"


@dataclass(frozen=True, slots=True)
class Pool:
    """A set of actor processes, made by `App.pool`. `procs` None: as many as `--procs` says."""

    name: str
    procs: PoolSize | None = None


def check_pool_name(name: object) -> str:
    """The name of a pool. Raises ValidationError."""
    if not isinstance(name, str) or re.fullmatch(POOL_NAME, name) is None:
        raise ValidationError(
            f"a pool's name must be 1 to 64 letters, digits, '-', '_' or '.', not {name!r:.80}"
        )
    return name


def check_pool_size(procs: object, *, least: int = 1) -> PoolSize | None:
    """The size of a pool, None where it is left to `--procs`. Raises ValidationError."""
    if procs is None:
        return None
    if isinstance(procs, str) and procs == "auto":
        return "auto"
    if isinstance(procs, bool) or not isinstance(procs, int) or not least <= procs <= MAX_PROCS:
        raise ValidationError(
            f"procs of a pool must be 'auto' or an integer from {least} to {MAX_PROCS}, not {procs!r:.40}"
        )
    return procs


def check_weight(weight: object) -> int:
    """A queue's weight among those of its pool. Raises ValidationError."""
    if isinstance(weight, bool) or not isinstance(weight, int) or not 1 <= weight <= MAX_WEIGHT:
        raise ValidationError(f"weight must be an integer from 1 to {MAX_WEIGHT}, not {weight!r:.40}")
    return weight
