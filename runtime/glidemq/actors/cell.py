"""A cell: two connections, a pump per queue, and the actors that look after them, over one work link."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from glidemq.actors.actor import Actor
from glidemq.actors.heartbeat import Heartbeat
from glidemq.actors.observer import CellObserver
from glidemq.actors.promoter import Promoter
from glidemq.actors.registration import Registration
from glidemq.actors.scheduler import Scheduler
from glidemq.actors.stall_recovery import StallRecovery
from glidemq.clock import monotonic_ns
from glidemq.connection.connection import UnblockingConnection
from glidemq.connection.reader_connection import ReaderConnection
from glidemq.errors import GlideMQError, ServerError
from glidemq.pipeline.in_flight import InFlight
from glidemq.pipeline.link import WorkLink
from glidemq.pipeline.pump_context import PumpContext, QueueSettings
from glidemq.pipeline.queue_pump import QueuePump
from glidemq.pipeline.reader import Reader

log = logging.getLogger("glidemq.cell")

DRAIN_POLL_S = 0.01


@dataclass(frozen=True, slots=True)
class CellSettings:
    """Identity and intervals of a cell, in seconds (defaults: ruling 6)."""

    consumer: str
    block: float = 1.0
    promotion_interval: float = 0.25
    stalled_interval: float = 30.0
    max_stalled_count: int = 1


class _ReaderActor(Actor):
    name = "reader"

    def __init__(self, reader: Reader) -> None:
        super().__init__()
        self._reader = reader

    async def run(self) -> None:
        await self._reader.run()

    async def stop(self) -> None:
        await self._reader.release()
        await super().stop()


class Cell:
    """Everything between the server and a work link.

    Owns: the command connection, the reader connection, the pumps and the actors. Stops when `drain` and `stop` have
    been called; `stop` alone leaves running jobs to be recovered as orphans or stalled.
    """

    def __init__(
        self,
        settings: CellSettings,
        *,
        commands: UnblockingConnection,
        reader: ReaderConnection,
        in_flight: InFlight,
        link: WorkLink,
        observer: CellObserver | None = None,
        on_drained: Callable[[QueuePump], None] = lambda _: None,
        owns_commands: bool = True,
    ) -> None:
        self.settings = settings
        self.commands = commands
        self.in_flight = in_flight
        self.link = link
        self.observer = observer or CellObserver()
        self._pumps: dict[str, QueuePump] = {}
        self._reader_connection = reader
        self._on_drained = on_drained
        self._owns_commands = owns_commands
        self._losses = 0  # how often the connection was lost, leases being in doubt since
        self._restored = 0  # the last of those after which all leases were renewed
        self._restoring = asyncio.Lock()
        self.heartbeat = Heartbeat(
            connection=commands,
            in_flight=in_flight,
            link=link,
            consumer=settings.consumer,
            on_away=lambda: self._stall_recovery.grant_grace(),
        )
        self._registration = Registration(
            connection=commands,
            pumps=self.pumps,
            in_flight=in_flight,
            consumer=settings.consumer,
            stalled_interval_s=settings.stalled_interval,
        )
        self._stall_recovery = StallRecovery(
            connection=commands,
            pumps=self.pumps,
            consumer=settings.consumer,
            stalled_interval_s=settings.stalled_interval,
            max_stalled_count=settings.max_stalled_count,
            observer=self.observer,
            was_away=lambda: self.heartbeat.was_away,
        )
        self._promoter = Promoter(
            connection=commands,
            pumps=self.pumps,
            link=link,
            promotion_interval_s=settings.promotion_interval,
        )
        self._scheduler = Scheduler(
            connection=commands,
            queues=lambda: [pump.keys for pump in self._pumps.values()],
            interval_s=settings.promotion_interval,
        )
        self.reader = Reader(
            consumer=settings.consumer,
            connection=reader,
            commands=commands,
            pumps=self.pumps,
            register=self._registration.tick,
            block_ms=int(settings.block * 1000),
        )
        self._context = PumpContext(
            consumer=settings.consumer,
            connection=commands,
            in_flight=in_flight,
            link=link,
            observer=self.observer,
            restore_leases=self._restore_leases,
            connection_lost=self._connection_lost,
            drained=self._queue_drained,
            may_ask=self._may_ask,
        )
        self._reader_actor = _ReaderActor(self.reader)
        self._fetching: tuple[Actor, ...] = (
            self._reader_actor,
            self._promoter,
            self._scheduler,
            self._stall_recovery,
        )
        self._keeping: tuple[Actor, ...] = (self.heartbeat, self._registration)
        self._started = False

    def pumps(self) -> Iterable[QueuePump]:
        """The pumps of all queues served."""
        return self._pumps.values()

    def pump(self, queue: str) -> QueuePump | None:
        """The pump of one queue, if it is served."""
        return self._pumps.get(queue)

    def serve(self, settings: QueueSettings) -> QueuePump:
        """Begin to serve a queue, or go by new settings: another version of the app may bring them."""
        pump = self._pumps.get(settings.queue)
        if pump is not None:
            pump.settings = settings
        else:
            pump = self._pumps[settings.queue] = QueuePump(settings, self._context)
            if self._started:
                # Its consumer group must exist before anything reads it.
                self._losses += 1
                pump.kick()
        return pump

    async def start(self) -> None:
        """Announce the cell, renew what it still holds, then fetch.

        Raises ConnectionError when the server cannot be reached.
        """
        await self._registration.tick()
        await self.heartbeat.extend_all()
        self._started = True
        for actor in (*self._keeping, *self._fetching):
            actor.start()
        for pump in self._pumps.values():
            pump.kick()

    def flush(self) -> None:
        """Report all outcomes now."""
        for pump in self._pumps.values():
            pump.flush()

    def flush_overdue(self, longest_ns: int) -> None:
        """Report outcomes that have waited for company for longer than this."""
        for pump in self._pumps.values():
            pump.flush_overdue(longest_ns)

    def slots_freed(self) -> None:
        """Slots that queues share have become free: whoever waits for one may ask now."""
        for pump in self._pumps.values():
            if pump.hungry:
                pump.kick()
        self.reader.reconsider()

    def _may_ask(self, pump: QueuePump) -> bool:
        """Queues that share slots ask in turn: a busy one must not take every slot as it becomes free."""
        for other in self._pumps.values():
            if (
                other.hungry
                and other.last_step_ns < pump.last_step_ns
                and self.link.share_slots(pump, other)
                and self.link.wants(other)[0] > 0
            ):
                other.kick()
                return False
        return True

    def close_intake(self) -> None:
        """Activate nothing more, from now on; what the server still grants goes back."""
        for pump in self._pumps.values():
            pump.close_intake()

    async def drain(self, deadline_ns: int | None = None) -> bool:
        """Fetch nothing more and wait for what runs; True when nothing is left, False at the deadline."""
        self.close_intake()
        for actor in self._fetching:
            await actor.stop()
        while self.in_flight or not all(pump.settled for pump in self._pumps.values()):
            if deadline_ns is not None and monotonic_ns() >= deadline_ns:
                return False
            self.flush()
            await asyncio.sleep(DRAIN_POLL_S)
        return True

    async def stop(self, *, deliver_for_s: float = 5.0) -> None:
        """Deliver the last outcomes if the server lets us, leave the registries, close both connections."""
        # Before the reader is released: it would begin another read for as long as a queue wants one.
        self.close_intake()
        for actor in (*self._fetching, *self._keeping):
            await actor.stop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(deliver_for_s):
                await asyncio.gather(*(pump.close() for pump in self._pumps.values()))
        for pump in self._pumps.values():
            await pump.abandon()
        with contextlib.suppress(GlideMQError, TimeoutError):
            async with asyncio.timeout(1.0):
                await self._registration.leave()
        await self._reader_connection.close()
        if self._owns_commands:
            await self.commands.close()

    def _queue_drained(self, pump: QueuePump) -> None:
        self.reader.reconsider()
        self._on_drained(pump)

    # -- after a broken connection --------------------------------------------------------------------------

    def _connection_lost(self) -> None:
        self._losses += 1
        self._stall_recovery.grant_grace()

    async def _restore_leases(self) -> None:
        while self._restored < self._losses:
            async with self._restoring:
                if self._restored < self._losses:
                    losses = self._losses  # a connection lost while this goes on is another one
                    # One queue that the server refuses is that queue's trouble.
                    with contextlib.suppress(ServerError):
                        await self._registration.tick()
                    with contextlib.suppress(ServerError):
                        await self.heartbeat.extend_all()
                    self._restored = losses
                    self.observer.recovered()
