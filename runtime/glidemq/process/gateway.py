"""The gateway process of a cell: the only one with connections, and the one that holds the leases."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Any, cast

import uvloop

from glidemq.actors.cell import Cell
from glidemq.actors.cell_settings import CellSettings
from glidemq.clock import monotonic_ns
from glidemq.commands.rate_limit import limiter_of
from glidemq.commands.release import ENDED_ON_PURPOSE
from glidemq.connection.command_connection import CommandConnection
from glidemq.connection.reader_connection import ReaderConnection
from glidemq.errors import ConnectionError, GlideMQError, ServerError
from glidemq.options import BatchRule
from glidemq.options.dead_letter_queue import dead_letter_queue_from_plain
from glidemq.options.estimates import RunEstimate
from glidemq.options.token_limiter import QueueLimits
from glidemq.pipeline.in_flight import InFlight
from glidemq.pipeline.pump_context import QueueSettings
from glidemq.pipeline.queue_pump import QueuePump
from glidemq.process.actor_channel import ActorChannel
from glidemq.process.command_server import CommandServer
from glidemq.process.deadlines import Deadlines
from glidemq.process.harvest import Harvester
from glidemq.process.parent_watch import ParentWatch
from glidemq.process.process_state import is_stopped
from glidemq.process.ring_link import RingLink
from glidemq.process.takeover import adopt_leases, restore_options
from glidemq.process.wake_policy import LONGEST_HOLD_NS
from glidemq.process_spec import EXIT_FAILED, EXIT_OK, EXIT_UNREACHABLE, GatewaySpec, key_prefix
from glidemq.rings.actor_segment import ActorSegment
from glidemq.shared_memory.status_board import StatusBoard
from glidemq.shared_memory.status_slot import Control, ProcessRole, ProcessState

log = logging.getLogger("glidemq.gateway")

BUSY_TICK_S = 0.02  # take-back and deadlines are judged this often while jobs are in hand
START_DEADLINE_S = 15.0
START_RETRY_S = 0.1
LAST_WORDS_S = 1.0  # for delivering the last outcomes when nobody will wait for us
ACTORS_GONE_S = 0.3


class Gateway:
    """One cell's gateway.

    Owns: the cell with its two connections, the gateway side of all rings. Stops when: told to STOP, or orphaned.
    """

    def __init__(self, spec: GatewaySpec) -> None:
        config = spec.config
        memory = spec.memory
        self._spec = spec
        self._config = config
        self._loop = asyncio.get_running_loop()
        self._board = StatusBoard.attach(memory.board)
        self._slot = self._board.gateway
        self._bell = self._slot.bell(memory.gateway_bell)
        self._channels = [
            ActorChannel(
                index,
                self._board.slot(index + 1),
                ActorSegment.attach(fds),
                self._board.slot(index + 1).bell(memory.actor_bells[index]),
                cell=spec.cell,
            )
            for index, fds in enumerate(memory.actor_segments)
        ]
        self._in_flight = InFlight(spec.generation)
        options = config.connection
        commands = CommandConnection(options, client_name="glidemq-gateway")
        self._commands = CommandServer(commands)
        self._link = RingLink(
            self._channels,
            self._in_flight,
            max_ring_wait_ns=int(config.max_ring_wait * 1e9),
            pump_of=self._pump_of,
            on_command=self._commands.accept,
            is_process_stopped=is_stopped,
            on_freed=lambda: self._cell.slots_freed(),
            may_queue_up=lambda pump: self._cell.turns.may_queue_up(pump),
        )
        self._cell = Cell(
            CellSettings(
                consumer=spec.consumer,
                block=config.block,
                promotion_interval=config.promotion_interval,
                stalled_interval=config.stalled_interval,
                max_stalled_count=config.max_stalled_count,
                cluster=options.cluster,
            ),
            commands=commands,
            connect_reader=lambda: ReaderConnection(options, client_name="glidemq-reader"),
            in_flight=self._in_flight,
            link=self._link,
        )
        self._harvester = Harvester(self._link, self._in_flight)
        self._deadlines = Deadlines(self._channels, kill_grace_ns=int(config.kill_grace * 1e9))
        self._stop = asyncio.Event()
        self._draining: asyncio.Task[None] | None = None
        self._orphaned = False
        self._started = False
        self._parent_watch = ParentWatch(self._loop, spec.supervisor_pid, self._on_orphaned)
        self._tick_timer: asyncio.TimerHandle | None = None

    async def run(self) -> int:
        """Serve until told to stop; the exit status."""
        self._slot.beat_ns = monotonic_ns()
        beat = self._loop.create_task(self._beat())
        try:
            if not await self._start_unless_stopped():
                return EXIT_OK if self._stop.is_set() else EXIT_UNREACHABLE
            self._started = True
            self._loop.add_reader(self._bell.fileno(), self._on_bell)
            self._slot.ready_ns = monotonic_ns()
            self._change_state(ProcessState.READY)
            self._on_bell()
            await self._stop.wait()
        finally:
            self._loop.remove_reader(self._bell.fileno())
            beat.cancel()
            await self._finish()
        self._change_state(ProcessState.STOPPED)
        return EXIT_OK

    async def _start_unless_stopped(self) -> bool:
        """Connect and take over; False when told to stop, or orphaned, before that is done."""
        starting = self._loop.create_task(self._start())
        stopping = self._loop.create_task(self._stop.wait())
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if starting.done():
            return starting.result()
        starting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await starting
        return False

    async def _start(self) -> bool:
        for queue in self._spec.manifest.get("queues", ()):
            self._serve(queue)
        adopted = adopt_leases(self._channels, self._in_flight, self._cell.pump)
        deadline_ns = monotonic_ns() + int(min(START_DEADLINE_S, self._config.start_timeout) * 1e9)
        while True:
            try:
                await self._cell.start()
                await restore_options(adopted, self._cell.commands)
                self._slot.connected = 1
                return True
            except (ConnectionError, ServerError) as error:
                if monotonic_ns() > deadline_ns:
                    log.error("cannot reach the server: %s", error)
                    return False
                await asyncio.sleep(START_RETRY_S)

    def _pump_of(self, queue: str) -> QueuePump | None:
        return self._cell.pump(queue)

    def _serve(self, queue: Mapping[str, Any]) -> None:
        config = self._config
        self._cell.serve(
            QueueSettings(
                queue["name"],
                prefix=key_prefix(config, self._spec.manifest.get("prefix")),
                lock_ms=int(queue.get("lock_duration_ms") or config.lock_duration * 1000),
                timeout_ms=int(queue.get("timeout_ms") or 0),
                limiter=limiter_of(queue.get("limiter")),
                max_crashes=config.max_crashes,
                weight=int(queue.get("weight") or 1),
                batch=BatchRule(*queue["batch"]) if queue.get("batch") else None,
                dead_letters=dead_letter_queue_from_plain(queue.get("dead_letter_queue")),
                limits=QueueLimits.of_manifest(queue.get("limits")),
                estimate=RunEstimate.of_member(queue.get("estimate")),
            )
        )

    # -- events ---------------------------------------------------------------------------------------------

    async def _beat(self) -> None:
        while True:
            self._slot.beat_ns = monotonic_ns()
            self._slot.held = len(self._in_flight)
            if self._started:
                self._on_bell()
            elif self._slot.control is Control.STOP:
                self._stop.set()
            await asyncio.sleep(self._config.beat)

    def _on_bell(self) -> None:
        bell = self._bell
        bell.drain()
        self._link.collect()
        self._cell.flush()  # an actor rings when its outcomes should not wait any longer
        self._look_at_actors()
        self._obey()
        bell.prepare_sleep()
        if self._link.has_unread():
            self._loop.call_soon(self._on_bell)
        if self._tick_timer is None and self._in_flight:
            self._tick_timer = self._loop.call_later(BUSY_TICK_S, self._tick)

    def _tick(self) -> None:
        self._tick_timer = None
        self._link.collect()
        self._cell.flush_overdue(LONGEST_HOLD_NS)
        self._link.take_back_overdue()
        self._deadlines.check()
        if self._in_flight:
            self._tick_timer = self._loop.call_later(BUSY_TICK_S, self._tick)

    def _look_at_actors(self) -> None:
        changed = False
        for channel in self._channels:
            slot = channel.slot
            generation = slot.generation
            state = slot.state
            if state is ProcessState.DEAD and slot.harvested_generation < generation:
                self._harvester.harvest(channel)
                channel.bell.ring_always()  # the next generation waits for this
                changed = True
            elif state is ProcessState.READY and channel.attached_generation != generation:
                channel.attached_generation = generation
                self._link.read(channel)  # its manifest comes first
                self._attach(channel)
                changed = True
            elif channel.attached_generation == generation and slot.control is not Control.RUN:
                self._link.take_back_unstarted(channel)
        self._link.place_waiting()
        if changed:
            self._ring_supervisor()
            self._cell.slots_freed()

    def _attach(self, channel: ActorChannel) -> None:
        queues = self._queues_of(channel)
        for queue in queues:
            self._serve(queue)
        channel.attach(
            {queue["name"]: int(queue.get("concurrency") or 1) for queue in queues},
            batch_sizes={queue["name"]: int(queue["batch"][0]) for queue in queues if queue.get("batch")},
            is_sync=channel.slot.role is ProcessRole.SYNC_ACTOR,
        )

    def _queues_of(self, channel: ActorChannel) -> Sequence[Mapping[str, Any]]:
        """What the process serves: by its own manifest, or by the app's for one that an earlier gateway attached."""
        manifest = channel.manifest
        if manifest is None:
            crew = self._spec.crews[channel.index]
            return [queue for queue in self._spec.manifest.get("queues", ()) if crew.runs(queue)]
        queues: Sequence[Mapping[str, Any]] = manifest["queues"]
        return queues

    def _obey(self) -> None:
        control = self._slot.control
        if control is Control.STOP:
            self._stop.set()
        elif control is Control.DRAIN and self._draining is None:
            self._change_state(ProcessState.DRAINING)
            self._draining = self._loop.create_task(self._drain())

    async def _drain(self) -> None:
        self._cell.close_intake()  # first: what is taken back is not to be placed again
        for channel in self._channels:
            if channel.attached_generation:
                self._link.take_back_unstarted(channel)
        self._link.give_back_waiting()
        # The deadline is the supervisor's: it kills what still runs, and that is then given back here.
        await self._cell.drain()
        self._change_state(ProcessState.DRAINED)

    def _on_orphaned(self) -> None:
        log.error("the supervisor is gone: unfinished jobs go back to the queue, this gateway ends")
        self._cell.close_intake()  # what is given back now must not be activated again for processes that are dead
        self._orphaned = True
        self._stop.set()

    # -- ending ---------------------------------------------------------------------------------------------

    async def _finish(self) -> None:
        if self._tick_timer is not None:
            self._tick_timer.cancel()
        if self._draining is not None:
            self._draining.cancel()
        self._parent_watch.close()
        if self._orphaned:
            await self._until_actors_are_gone()
        if self._stop.is_set():  # else the actors work on, and the next gateway takes their jobs over
            self._give_everything_back()
        with contextlib.suppress(GlideMQError):
            await self._cell.stop(deliver_for_s=LAST_WORDS_S)
        for channel in self._channels:
            channel.close()

    def _give_everything_back(self) -> None:
        self._link.collect()
        self._look_at_actors()
        self._link.give_back_waiting()
        for lease in self._in_flight:
            if self._in_flight.take(lease.seq) is not None:
                holder = lease.holder
                has_started = isinstance(holder, ActorChannel) and holder.has_started(lease)
                lease.pump.give_back(lease, ENDED_ON_PURPOSE if has_started else None)

    async def _until_actors_are_gone(self) -> None:
        """Actors die with the supervisor, by the kernel's hand; what they finished before counts.

        The programs that their jobs have started do not: each actor leads a process group, which is ended here.
        """
        for channel in self._channels:
            if channel.slot.pid:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(channel.slot.pid, signal.SIGKILL)
        deadline_ns = monotonic_ns() + int(ACTORS_GONE_S * 1e9)
        while any(channel.alive for channel in self._channels) and monotonic_ns() < deadline_ns:  # noqa: ASYNC110
            await asyncio.sleep(0.005)

    # -- telling the supervisor -----------------------------------------------------------------------------

    def _change_state(self, state: ProcessState) -> None:
        self._slot.state = state
        self._ring_supervisor()

    def _ring_supervisor(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_write(self._spec.memory.supervisor_bell, 1)


def run(spec: GatewaySpec) -> int:
    """Run a gateway on a uvloop of its own; called in the child right after the fork."""

    async def main() -> int:
        return await Gateway(spec).run()

    # The client imports trio if it can, for loops of trio's: 0.1 s and 5 MB, of which nothing is used here.
    sys.modules["trio"] = cast(Any, None)
    try:
        return uvloop.run(main())
    except GlideMQError as error:
        log.error("the gateway cannot run: %s", error)
        return EXIT_FAILED
