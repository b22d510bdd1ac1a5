"""A cell: its connections, a pump per queue, and the actors that look after them, over one work link."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection, Iterable

from glidemq.actors.cell_settings import CellSettings
from glidemq.actors.fault_domain import FaultDomain
from glidemq.actors.observer import CellObserver
from glidemq.actors.reader_set import ReaderSet
from glidemq.clock import monotonic_ns
from glidemq.connection.connection import UnblockingConnection
from glidemq.connection.reader_connection import ReaderConnection
from glidemq.errors import ConnectionError, GlideMQError
from glidemq.pipeline.fair_turns import FairTurns
from glidemq.pipeline.in_flight import InFlight
from glidemq.pipeline.limits.limit_book import LimitBook
from glidemq.pipeline.link import WorkLink
from glidemq.pipeline.pump_context import PumpContext, QueueSettings
from glidemq.pipeline.queue_pump import QueuePump

log = logging.getLogger("glidemq.cell")

DRAIN_POLL_S = 0.01


class Cell:
    """Everything between the server and a work link.

    Owns: the command connection, the readers, the pumps, and the fault domains with their actors. Stops when `drain`
    and `stop` have been called; `stop` alone leaves running jobs to be recovered as orphans or stalled.
    """

    def __init__(
        self,
        settings: CellSettings,
        *,
        commands: UnblockingConnection,
        connect_reader: Callable[[], ReaderConnection],
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
        self._domains: dict[QueuePump, FaultDomain] = {}
        self._on_drained = on_drained
        self._owns_commands = owns_commands
        self._limits = LimitBook(commands)
        self._started = False
        self.turns = FairTurns(self.pumps, link)
        self.readers = ReaderSet(
            consumer=settings.consumer,
            connect=connect_reader,
            commands=commands,
            register=self._register,
            block_ms=int(settings.block * 1000),
            cluster=settings.cluster,
        )

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
            pump.go_by(settings)
            return pump
        domain = self._domain_for_new_queue()
        pump = self._pumps[settings.queue] = QueuePump(settings, self._context_in(domain))
        self._domains[pump] = domain
        domain.add(pump)
        if self._started:
            domain.start(announced=False)
        self.readers.watch(pump)
        return pump

    def _domain_for_new_queue(self) -> FaultDomain:
        for domain in self._domains.values():
            if not self.settings.cluster:
                return domain
        return FaultDomain(
            self.settings,
            connection=self.commands,
            in_flight=self.in_flight,
            link=self.link,
            observer=self.observer,
        )

    def _context_in(self, domain: FaultDomain) -> PumpContext:
        return PumpContext(
            consumer=self.settings.consumer,
            connection=self.commands,
            in_flight=self.in_flight,
            link=self.link,
            observer=self.observer,
            restore_leases=domain.restore_leases,
            connection_lost=domain.connection_lost,
            drained=self._queue_drained,
            posted=domain.messenger.posted,
            turns=self.turns,
            rests=self._queue_rests,
            gate_of=self._limits.gate_of,
        )

    @property
    def _fault_domains(self) -> list[FaultDomain]:
        return list(dict.fromkeys(self._domains.values()))

    async def start(self) -> None:
        """Announce the cell, renew what it still holds, then fetch.

        Raises ConnectionError when the server cannot be reached; in a cluster, when nothing of it can.
        """
        domains = self._fault_domains
        results = await asyncio.gather(*(domain.announce() for domain in domains), return_exceptions=True)
        failures = [result for result in results if isinstance(result, BaseException)]
        for failure in failures:
            if not isinstance(failure, ConnectionError) or len(failures) == len(domains):
                raise failure
        self._started = True
        for domain, result in zip(domains, results, strict=True):
            domain.start(announced=result is None)
        self.readers.start()

    async def _register(self, pumps: Collection[QueuePump]) -> None:
        for domain in {self._domains[pump] for pump in pumps}:
            await domain.registration.tick()

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
        self.readers.reconsider()

    def close_intake(self) -> None:
        """Activate nothing more, from now on; what the server still grants goes back."""
        for pump in self._pumps.values():
            pump.close_intake()

    async def drain(self, deadline_ns: int | None = None) -> bool:
        """Fetch nothing more and wait for what runs; True when nothing is left, False at the deadline."""
        self.close_intake()
        await self.readers.stop()
        await asyncio.gather(*(domain.stop_fetching() for domain in self._fault_domains))
        while self.in_flight or not all(pump.settled for pump in self._pumps.values()):
            if deadline_ns is not None and monotonic_ns() >= deadline_ns:
                return False
            self.flush()
            await asyncio.sleep(DRAIN_POLL_S)
        return True

    async def stop(self, *, deliver_for_s: float = 5.0) -> None:
        """Deliver the last outcomes if the server lets us, leave the registries, close all connections."""
        # Before the reader is released: it would begin another read for as long as a queue wants one.
        self.close_intake()
        await self.readers.stop()
        await asyncio.gather(*(domain.stop() for domain in self._fault_domains))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(deliver_for_s):
                await asyncio.gather(*(pump.close() for pump in self._pumps.values()))
        for pump in self._pumps.values():
            await pump.abandon()
        with contextlib.suppress(GlideMQError, TimeoutError):
            async with asyncio.timeout(1.0):
                await self._limits.close()
        with contextlib.suppress(GlideMQError, TimeoutError):
            async with asyncio.timeout(1.0):
                leaving = (domain.leave() for domain in self._fault_domains)
                await asyncio.gather(*leaving, return_exceptions=True)
        await self.readers.close()
        if self._owns_commands:
            await self.commands.close()

    def _queue_rests(self, pump: QueuePump) -> None:
        self.turns.drained(pump)
        self.slots_freed()

    def _queue_drained(self, pump: QueuePump) -> None:
        self.turns.drained(pump)
        self.readers.reconsider()
        self._on_drained(pump)
