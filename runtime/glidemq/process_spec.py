"""What the supervisor hands to the processes that it forks, and the protocol by which they talk through the board.

The supervisor knows the processes only by the entry points named here and imports them after the fork, in the child.
Everything that crosses is plain data and file descriptors: the child attaches to the shared memory itself.

Conversation on the status board (one writer per word; every change is followed by ringing the other side's bell):

    supervisor -> gateway   control RUN, DRAIN (with deadline_ns, monotonic clock), STOP
    gateway -> supervisor   state STARTING -> READY -> DRAINED (nothing in flight, after DRAIN) ; exits 0 after STOP
    supervisor -> actor     control RUN, DRAIN, STOP; kill_reason before it sends SIGKILL; state DEAD + exit_status once
                            reaped; generation + 1 for every fork into the slot
    actor -> everybody      state STARTING -> READY -> DRAINED; exits 0 by itself once drained or told to STOP
    gateway -> supervisor   harvested_generation: the jobs of that generation are accounted for and the rings are reset;
                            only then does the next generation attach
    gateway -> actor slot   gateway_kill_reason before the gateway itself kills an actor (a job overran its timeout)

A drained gateway keeps its connections and leases until it is told to STOP, so that the supervisor may kill what still
runs at the deadline and have it harvested: DRAIN gateway -> wait for DRAINED or the deadline -> STOP actors (then kill)
-> STOP gateway.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from glidemq.config.pools import DEFAULT_POOL

if TYPE_CHECKING:
    from glidemq.config import RuntimeConfig

Role = Literal["sync", "async"]

GATEWAY_ENTRY_POINT = "glidemq.process.gateway:run"
ACTOR_ENTRY_POINT = "glidemq.process.actor_process:run"
PROBE_ENTRY_POINT = "glidemq.process.app_probe:run"
ZYGOTE_PRELOAD_ENTRY_POINT = "glidemq.process.app_probe:preload"

# Exit statuses with a meaning beyond "failed".
EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2  # wrong module:app, bad options: restarting cannot help
EXIT_UNREACHABLE = 3  # the server could not be reached within the start-up deadline

# gateway -> sync actor: the running job is over time; the cancel board says so too.
SOFT_TIMEOUT_SIGNAL = signal.SIGUSR1


@dataclass(frozen=True, slots=True)
class Crew:
    """The actor processes of one pool and role: each runs the pool's processors of that role."""

    pool: str
    role: Role

    @property
    def label(self) -> str:
        """What messages call it: the role, with the pool's name where that says something."""
        return self.role if self.pool == DEFAULT_POOL else f"{self.pool} {self.role}"

    def runs(self, queue: Mapping[str, Any]) -> bool:
        """Whether a queue of the manifest is this crew's."""
        return bool(queue["role"] == self.role and queue.get("pool", DEFAULT_POOL) == self.pool)


@dataclass(frozen=True, slots=True)
class CellMemory:
    """File descriptors of one cell's shared memory and bells; made by the supervisor before any fork.

    actor_segments: per actor slot, the descriptors that `ActorSegment.attach` takes.
    actor_bells / gateway_bell: eventfds. The sleeping words that belong to them live on the status board.
    supervisor_bell: eventfd that wakes the supervisor's loop after a state change.
    """

    board: int
    actor_segments: tuple[tuple[int, ...], ...]
    actor_bells: tuple[int, ...]
    gateway_bell: int
    supervisor_bell: int


@dataclass(frozen=True, slots=True)
class GatewaySpec:
    """One gateway process: the cell's connections, leases and limits."""

    config: RuntimeConfig
    cell: int
    consumer: str  # stable across gateways of this cell, unique per supervisor start
    generation: int  # 1, 2, … per gateway forked for this cell
    memory: CellMemory
    supervisor_pid: int
    manifest: Mapping[str, Any]  # what the app probe found (see app_probe)
    crews: tuple[Crew, ...]  # per actor slot


@dataclass(frozen=True, slots=True)
class ActorSpec:
    """One actor process: runs its pool's plain `def` processors ("sync") or `async def` ones ("async"), never both."""

    config: RuntimeConfig
    cell: int
    slot: int  # index into CellMemory.actor_segments; status board slot is slot + 1
    crew: Crew
    generation: int
    memory: CellMemory
    supervisor_pid: int
    app: Any = None  # the App object when forked from a preloaded zygote; else imported from config.app


@dataclass(frozen=True, slots=True)
class ProbeSpec:
    """A short-lived child that imports the app and writes its manifest, or a one-line error, as JSON to `result_fd`."""

    app: str
    result_fd: int


DEFAULT_PREFIX = "glide"


def key_prefix(config: RuntimeConfig, app_prefix: str | None) -> str:
    """What all keys start with: the configured prefix, else the app's own, else the default."""
    return config.prefix if config.prefix != DEFAULT_PREFIX else app_prefix or DEFAULT_PREFIX
