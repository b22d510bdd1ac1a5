"""Queues that share a server's fate, and the actors that look after them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable

from glidemq.actors.actor import Actor
from glidemq.actors.cell_settings import CellSettings
from glidemq.actors.dead_letters import DeadLetters
from glidemq.actors.heartbeat import Heartbeat
from glidemq.actors.messenger import Messenger
from glidemq.actors.observer import CellObserver
from glidemq.actors.parent_care import ParentCare
from glidemq.actors.promoter import Promoter
from glidemq.actors.registration import Registration
from glidemq.actors.revocations import Revocations
from glidemq.actors.scheduler import Scheduler
from glidemq.actors.stall_recovery import StallRecovery
from glidemq.commands.answer_budgets import RefusedByBudget
from glidemq.connection.connection import Connection
from glidemq.errors import ServerError
from glidemq.pipeline.in_flight import InFlight
from glidemq.pipeline.lease import Lease
from glidemq.pipeline.link import WorkLink
from glidemq.pipeline.queue_pump import QueuePump


class FaultDomain:
    """All queues of a standalone server, or one queue of a cluster.

    Where one server holds all queues, a call that fails puts every lease in doubt, and one batch serves all queues. In
    a cluster each queue is by itself: while its node is away, nobody else's heartbeat, timer or judgement waits for it.
    Owns: the actors, and whether leases are in doubt. Stops when: both kinds of actors are stopped.
    """

    def __init__(
        self,
        settings: CellSettings,
        *,
        connection: Connection,
        in_flight: InFlight,
        link: WorkLink,
        observer: CellObserver,
    ) -> None:
        self._observer = observer
        self._pumps: list[QueuePump] = []
        self._losses = 0  # how often the connection was lost, leases being in doubt since
        self._restored = 0  # the last of those after which all leases were renewed
        self._restoring = asyncio.Lock()
        self._started = False
        self._heartbeat = Heartbeat(
            connection=connection,
            in_flight=in_flight,
            pumps=self.pumps,
            link=link,
            consumer=settings.consumer,
            on_away=lambda: self._stall_recovery.grant_grace(),
            on_forced=self._end_by_force,
        )
        self._revocations = Revocations(
            connection=connection,
            in_flight=in_flight,
            pumps=self.pumps,
            link=link,
            extend=self._heartbeat.extend,
        )
        self.registration = Registration(
            connection=connection,
            pumps=self.pumps,
            in_flight=in_flight,
            consumer=settings.consumer,
            stalled_interval_s=settings.stalled_interval,
        )
        self._stall_recovery = StallRecovery(
            connection=connection,
            pumps=self.pumps,
            consumer=settings.consumer,
            stalled_interval_s=settings.stalled_interval,
            max_stalled_count=settings.max_stalled_count,
            observer=observer,
            was_away=lambda: self._heartbeat.was_away,
        )

        def note_refused(queue_key: str, refused: RefusedByBudget) -> None:
            if any(pump.keys.meta == queue_key for pump in self._pumps):
                observer.refused(refused)

        self.messenger = Messenger(connection=connection, pumps=self.pumps, refused=note_refused)
        self._dead_letters = DeadLetters(
            connection=connection, queues=lambda: [pump.keys for pump in self._pumps]
        )
        self._fetching: tuple[Actor, ...] = (
            Promoter(
                connection=connection,
                pumps=self.pumps,
                link=link,
                promotion_interval_s=settings.promotion_interval,
            ),
            Scheduler(
                connection=connection,
                queues=lambda: [pump.keys for pump in self._pumps],
                interval_s=settings.promotion_interval,
            ),
            self._stall_recovery,
            ParentCare(connection=connection, pumps=self.pumps, posted=self.messenger.posted_in),
        )
        self._keeping: tuple[Actor, ...] = (
            self._heartbeat,
            self._revocations,
            self.registration,
            self.messenger,
            self._dead_letters,
        )

    def _end_by_force(self, lease: Lease, delay_ms: int) -> None:
        self._revocations.end_in(lease, delay_ms)

    def pumps(self) -> Iterable[QueuePump]:
        """The pumps of its queues."""
        return self._pumps

    def add(self, pump: QueuePump) -> None:
        """Look after one more queue."""
        self._pumps.append(pump)
        if self._started:
            # Its consumer group must exist before anything reads it.
            self._losses += 1
            pump.kick()

    # -- life -----------------------------------------------------------------------------------------------

    async def announce(self) -> None:
        """Register, and renew what is still held. Raises ConnectionError when the server cannot be reached."""
        await self.registration.tick()
        await self._heartbeat.extend_all()

    def start(self, *, announced: bool = True) -> None:
        """Begin to look after the queues, once; not announced: that happens before the first call of each."""
        if self._started:
            return
        self._started = True
        if not announced:
            self._losses += 1
        for actor in (*self._keeping, *self._fetching):
            actor.start()
        for pump in self._pumps:
            pump.kick()

    async def stop_fetching(self) -> None:
        """Look for nothing more to do; leases are kept."""
        for actor in self._fetching:
            await actor.stop()

    async def stop(self) -> None:
        """Stop every actor."""
        for actor in (*self._fetching, *self._keeping):
            await actor.stop()

    async def leave(self) -> None:
        """Take the cell out of the registries of these queues, and carry over what their last jobs have left."""
        await self.registration.leave()
        await self._dead_letters.carry_last()

    # -- after a broken connection --------------------------------------------------------------------------

    def connection_lost(self) -> None:
        """A call had no answer: leases are in doubt."""
        self._losses += 1
        self._stall_recovery.grant_grace()

    async def restore_leases(self) -> None:
        """Renew all leases first, if they are in doubt. Raises ConnectionError when that has no answer either."""
        while self._restored < self._losses:
            async with self._restoring:
                if self._restored < self._losses:
                    losses = self._losses  # a connection lost while this goes on is another one
                    # One queue that the server refuses is that queue's trouble.
                    with contextlib.suppress(ServerError):
                        await self.registration.tick()
                    with contextlib.suppress(ServerError):
                        await self._heartbeat.extend_all()
                    self._restored = losses
                    self._observer.recovered()
