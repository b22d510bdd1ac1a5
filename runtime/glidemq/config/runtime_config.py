"""The configuration of the runtime: one checked, frozen value, handed down and never looked up."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import InitVar, dataclass, field
from typing import Any, Literal

from glidemq.config.connection_options import ConnectionOptions
from glidemq.config.connection_url import redact_url
from glidemq.config.resolution import resolve_connection
from glidemq.config.setting_kinds import (
    Choice,
    Duration,
    Flag,
    Fraction,
    Kind,
    Number,
    PoolSizes,
    Size,
    Text,
)

_KIND = "glidemq.kind"


def _setting(default: Any, kind: Kind) -> Any:
    return field(default=default, metadata={_KIND: kind})


@dataclass(frozen=True, slots=True, repr=False)
class RuntimeConfig:
    """Everything that the supervisor and its processes go by.

    Durations are seconds; a `timedelta` is accepted and kept as seconds. `connection` is made from `url`, and
    from the environment where that is absent. Raises ConfigurationError for a value that cannot work.
    """

    # module:attribute of the App; None until the command line or a file names one.
    app: str | None = _setting(
        None, Text(r"[\w.]+:[\w.]+", "must look like package.module:app", optional=True)
    )
    # Directory put first on sys.path before the app is imported.
    import_path: str | None = _setting(None, Text(optional=True))
    # Connection URL; None: the embedded server.
    url: str | None = _setting(None, Text(optional=True))

    # Actor processes; "auto": one per core that this process may use.
    procs: int | Literal["auto"] = _setting("auto", Number(1, 1024, ("auto",)))
    # Sizes of pools, before those that the app gives: fast=2,slow=auto.
    pool: tuple[tuple[str, int | Literal["auto"]], ...] = _setting((), PoolSizes())
    # Most actor processes that SIGTTIN can reach; None: twice `procs`.
    max_procs: int | None = _setting(None, Number(1, 1024, optional=True))
    # Cells, each a gateway with its share of the actor processes; "auto": one per NUMA node.
    cells: int | Literal["auto", "per-core"] = _setting("auto", Number(1, 1024, ("auto", "per-core")))
    # Pin each actor process to a core of its own.
    pin: bool = _setting(False, Flag())
    # Import the app once and fork the actor processes from it.
    preload: bool = _setting(False, Flag())

    # From SIGTERM until jobs that still run are given back; then this long for their processors to notice.
    drain_timeout: float = _setting(30.0, Duration())
    kill_grace: float = _setting(5.0, Duration())
    # From a fork until the process must be ready: importing the app, connecting.
    start_timeout: float = _setting(60.0, Duration(minimum=0.1))
    # How often every process stamps its beat; a process without one for long is judged to hang.
    beat: float = _setting(0.5, Duration(minimum=0.05, maximum=10.0))
    # Longest blocking read: how late a reader notices a dead connection.
    block: float = _setting(1.0, Duration(minimum=0.01, maximum=10.0, refuses_slips=True))
    # Longest time until due jobs of foreign producers are noticed.
    promotion_interval: float = _setting(0.25, Duration(minimum=0.01, maximum=60.0, refuses_slips=True))
    # How often jobs whose lease has run out are looked for.
    stalled_interval: float = _setting(30.0, Duration(minimum=0.1, refuses_slips=True))
    # How long a lease lasts without a heartbeat.
    lock_duration: float = _setting(30.0, Duration(minimum=0.1, refuses_slips=True))
    # Times that a job may be reclaimed from a dead host, and crash a process, before it fails for good.
    max_stalled_count: int = _setting(1, Number(0, 1000))
    max_crashes: int = _setting(3, Number(1, 1000))

    # Restarts within the window after which the supervisor gives up: a crash loop.
    restart_intensity: int = _setting(5, Number(0, 10_000))
    restart_window: float = _setting(30.0, Duration(minimum=0.1))
    # First and longest wait before a process that died is forked again.
    restart_backoff: float = _setting(0.1, Duration(minimum=0.0))
    restart_backoff_max: float = _setting(10.0, Duration(minimum=0.0))
    # Longest that a job which was fetched waits for an actor before it goes to another one.
    max_ring_wait: float = _setting(0.02, Duration(minimum=0.0, maximum=10.0))

    # An actor process is replaced after this many jobs, this long, or at this resident size; None: never.
    max_jobs: int | None = _setting(None, Number(1, 10**12, optional=True))
    max_age: float | None = _setting(None, Duration(minimum=1.0, optional=True))
    max_rss: int | None = _setting(None, Size(16 << 20, optional=True))
    # Share by which those bounds vary, so that the processes are not all replaced at once.
    recycle_jitter: float = _setting(0.1, Fraction(0.0, 0.9))

    log_format: Literal["text", "json"] = _setting("text", Choice(("text", "json")))
    log_level: Literal["debug", "info", "warning", "error"] = _setting(
        "info", Choice(("debug", "info", "warning", "error"))
    )
    # First part of every key; part of the wire contract, so that all hosts of a queue must agree on it.
    prefix: str = _setting(
        "glide", Text(r"[^{}\s]{1,128}", "must be 1 to 128 characters, no braces or spaces")
    )

    environ: InitVar[Mapping[str, str] | None] = None
    connection: ConnectionOptions = field(init=False)

    def __post_init__(self, environ: Mapping[str, str] | None) -> None:
        for name, kind in SETTINGS.items():
            object.__setattr__(self, name, kind.check(getattr(self, name), name))
        object.__setattr__(self, "connection", resolve_connection(self.url, environ=environ))

    def __repr__(self) -> str:
        shown = [
            f"{member.name}={shown_value(member.name, getattr(self, member.name))}"
            for member in dataclasses.fields(self)
            if member.name in SETTINGS and getattr(self, member.name) != member.default
        ]
        return f"RuntimeConfig({', '.join(shown)})"


# Name -> kind, in the order in which they are shown.
SETTINGS: dict[str, Kind] = {
    member.name: member.metadata[_KIND]
    for member in dataclasses.fields(RuntimeConfig)
    if _KIND in member.metadata
}


def shown_value(name: str, value: Any) -> str:
    """A setting's value for people to read; never a secret."""
    if name == "url" and isinstance(value, str):
        return redact_url(value)
    if name == "pool":
        return ",".join(f"{pool}={size}" for pool, size in value) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def warnings_of(config: RuntimeConfig) -> list[str]:
    """What will work but probably not as meant."""
    found: list[str] = []
    if config.lock_duration < 4 * config.beat:
        found.append(
            f"lock_duration ({config.lock_duration:g} s) is short for a beat of {config.beat:g} s: "
            "a busy host may lose leases that it still works on"
        )
    if config.stalled_interval > 4 * config.lock_duration:
        found.append(
            f"stalled_interval ({config.stalled_interval:g} s) is far above lock_duration "
            f"({config.lock_duration:g} s): the jobs of a host that dies wait that long"
        )
    if config.restart_backoff > config.restart_backoff_max:
        found.append(
            f"restart_backoff ({config.restart_backoff:g} s) is above restart_backoff_max "
            f"({config.restart_backoff_max:g} s), which is used instead"
        )
    if isinstance(config.procs, int) and config.max_procs is not None and config.max_procs < config.procs:
        found.append(f"max_procs ({config.max_procs}) is below procs ({config.procs}), which is used instead")
    if config.max_age is not None and config.max_age < config.drain_timeout:
        found.append(
            f"max_age ({config.max_age:g} s) is below drain_timeout ({config.drain_timeout:g} s): "
            "processes may spend their life draining"
        )
    if config.connection.tls_insecure:
        found.append("tls_insecure is set: anybody can pose as the server")
    return found
