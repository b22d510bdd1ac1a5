"""The supervisor's own numbers, derived from the configuration in one place."""

from __future__ import annotations

from dataclasses import dataclass

from glidemq.config import RuntimeConfig
from glidemq_supervisor.liveness import LivenessLimits
from glidemq_supervisor.recycling import RecyclingLimits
from glidemq_supervisor.restart_policy import RestartLimits
from glidemq_supervisor.shutdown import ShutdownBounds

# The longest sleep of the loop. What it looks at without being rung for, beats and ages, is not in a hurry,
# and two turns a second cost well under a thousandth of a core.
TICK_S = 0.5


@dataclass(frozen=True, slots=True)
class SupervisorSettings:
    """What each part of the supervisor goes by."""

    restarts: RestartLimits
    liveness: LivenessLimits
    recycling: RecyclingLimits
    shutdown: ShutdownBounds
    tick_s: float = TICK_S

    @classmethod
    def from_config(cls, config: RuntimeConfig) -> SupervisorSettings:
        return cls(
            restarts=RestartLimits(
                first_s=config.restart_backoff,
                longest_s=config.restart_backoff_max,
                intensity=config.restart_intensity,
                window_s=config.restart_window,
            ),
            liveness=LivenessLimits.from_beat(config.beat, config.start_timeout),
            recycling=RecyclingLimits(config.max_jobs, config.max_age, config.max_rss, config.recycle_jitter),
            shutdown=ShutdownBounds(drain_s=config.drain_timeout, grace_s=config.kill_grace),
        )
