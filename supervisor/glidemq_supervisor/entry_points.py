"""The code that children run, known to the supervisor by name alone and imported after the fork."""

from __future__ import annotations

from dataclasses import dataclass

from glidemq.process_spec import (
    ACTOR_ENTRY_POINT,
    GATEWAY_ENTRY_POINT,
    PROBE_ENTRY_POINT,
    ZYGOTE_PRELOAD_ENTRY_POINT,
)


@dataclass(frozen=True, slots=True)
class EntryPoints:
    """A "module:function" for each kind of process."""

    gateway: str = GATEWAY_ENTRY_POINT
    actor: str = ACTOR_ENTRY_POINT
    probe: str = PROBE_ENTRY_POINT
    preload: str = ZYGOTE_PRELOAD_ENTRY_POINT
