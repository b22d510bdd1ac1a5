"""A pump keeps every outcome until the server has answered, whatever the calls run into."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from glidemq import ClosedError, Queue, QueueFullError
from glidemq.commands.command import Command, unpack
from glidemq.commands.fail import FailureRow
from glidemq.commands.step import CompletionRow
from glidemq.config import ConnectionOptions
from glidemq.connection import CommandConnection, ReaderConnection
from glidemq.errors import GlideMQError, LibraryVersionError, ServerError
from glidemq.pipeline.fair_turns import FairTurns
from glidemq.pipeline.in_flight import InFlight
from glidemq.pipeline.lease import Lease
from glidemq.pipeline.limits.start_gate import OPEN_GATE, OpenGate
from glidemq.pipeline.pump_context import PumpContext, QueueSettings
from glidemq.pipeline.queue_pump import QueuePump
from tests.testkit.server import ValkeyServer
from tests.testkit.waiting import eventually


class RefusingConnection:
    """The real connection, behind a door that the test can shut: calls then raise what it says, unexecuted."""

    def __init__(self, real: CommandConnection) -> None:
        self.real = real
        self.error: Exception | None = None
        self.refused: list[str] = []

    async def execute(self, command: Command[Any]) -> Any:
        if self.error is not None:
            self.refused.append(command.function)
            raise self.error
        return await self.real.execute(command)


@dataclass
class HandLink:
    """A link with as many slots as the test says, whose jobs end when the test says."""

    in_flight: InFlight
    slots: int = 1
    leases: dict[str, Lease] = field(default_factory=dict)
    settled_receipts: list[Any] = field(default_factory=list)

    def wants(self, _: QueuePump) -> tuple[int, int]:
        return self.slots - len(self.leases), 0

    def collect(self) -> None: ...

    def reserve(self, pump: QueuePump, slots: int, ahead: int) -> None: ...

    def unreserve(self, pump: QueuePump) -> None: ...

    def share_slots(self, one: QueuePump, other: QueuePump) -> bool:
        return False

    def dispatch(self, _: QueuePump, leases: Any) -> None:
        self.leases |= {lease.id.decode(): lease for lease in leases}

    def settled(self, receipt: Any) -> None:
        self.settled_receipts.append(receipt)

    def end(self, job_id: str) -> Lease:
        lease = self.leases.pop(job_id)
        assert self.in_flight.take(lease.seq) is lease
        return lease

    def complete(self, job_id: str) -> None:
        lease = self.end(job_id)
        fields = unpack(lease.blob)
        row = CompletionRow.pack(fields[0], fields[8], int(fields[7]), fields[9], b"null", False)
        lease.pump.complete(row, lease, f"receipt of {job_id}")
        lease.pump.flush()

    def fail(self, job_id: str) -> None:
        lease = self.end(job_id)
        row = FailureRow.pack(*lease.fence, lease.entry_id, "it failed", 0, 0, False)
        lease.pump.fail(row, lease, f"receipt of {job_id}")


class Observer:
    """What the pump says about its calls."""

    def __init__(self) -> None:
        self.troubles: list[Exception] = []

    def settled(self, outcome: Any, code: int) -> None: ...

    def refused(self, refused: Any) -> None: ...
    def released(self, lease: Lease, code: int, crash_reason: str | bool | None) -> None: ...
    def troubled(self, queue: str, error: Exception) -> None:
        self.troubles.append(error)


@dataclass
class Bench:
    """One pump over the shared server."""

    queue: Queue[Any, Any]
    pump: QueuePump
    link: HandLink
    connection: RefusingConnection
    observer: Observer
    outages: list[None]
    rests: list[QueuePump]
    url: str

    async def activated(self, slots: int) -> list[str]:
        """Ask for jobs until that many are in hand."""
        self.link.slots = slots
        self.pump.poll()
        await eventually(lambda: len(self.link.leases) == slots, f"{slots} jobs in hand")
        return sorted(self.link.leases)

    async def looked(self) -> None:
        """The queue has its consumer group, and is known to be empty."""
        self.pump.poll()
        await eventually(lambda: not self.pump.busy, "the first look")

    async def read(self) -> tuple[bytes, bytes]:
        """Claim one entry as the blocking read does; its id, and its job's."""
        reader = ReaderConnection(ConnectionOptions.from_url(self.url))
        try:
            (entry,) = await reader.read_group("bench", [self.pump.keys.stream], block_ms=1000)
        finally:
            await reader.close()
        return entry.entry_id, entry.fields[b"jobId"]


@pytest.fixture
async def bench(server: ValkeyServer, queue_name: str) -> AsyncIterator[Bench]:
    in_flight = InFlight()
    link, observer, outages = HandLink(in_flight), Observer(), list[None]()
    rests: list[QueuePump] = []

    async def nothing() -> None: ...

    async with (
        CommandConnection(ConnectionOptions.from_url(server.url)) as real,
        Queue[Any, Any](queue_name, connection=server.url) as queue,
    ):
        connection: Any = RefusingConnection(real)
        context = PumpContext(
            consumer="bench",
            connection=connection,
            in_flight=in_flight,
            link=link,  # type: ignore[arg-type]
            observer=observer,
            restore_leases=nothing,
            connection_lost=lambda: outages.append(None),
            drained=lambda _: None,
            posted=lambda _: None,
            turns=FairTurns(lambda: (), link),  # type: ignore[arg-type]
            rests=rests.append,
        )
        pump = QueuePump(QueueSettings(queue_name), context)
        yield Bench(queue, pump, link, connection, observer, outages, rests, server.url)
        await pump.abandon()


class ShutGate(OpenGate):
    """The gate of a queue whose limit is used up."""

    def admit(self, slots: int, ahead: int) -> tuple[int, int]:
        return 0, 0


async def test_queue_that_its_limit_keeps_from_starting_says_once_that_its_slots_are_free(
    bench: Bench,
) -> None:
    await bench.queue.add("a", None)
    bench.pump.gate = ShutGate()
    for _ in range(3):
        bench.pump.poll()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert bench.rests == [bench.pump]
    assert not bench.pump.hungry
    bench.pump.gate = OPEN_GATE
    assert len(await bench.activated(1)) == 1


UNEXPECTED: list[Callable[[], Exception]] = [
    lambda: LibraryVersionError("this client may not load it"),
    lambda: QueueFullError("no memory for the library"),
    lambda: ClosedError("closed under our feet"),
    lambda: ServerError("WRONGTYPE"),
    lambda: ValueError("a defect"),
]


@pytest.mark.parametrize("error", UNEXPECTED, ids=lambda error: type(error()).__name__)
async def test_outcomes_outlive_whatever_a_call_raises(bench: Bench, error: Callable[[], Exception]) -> None:
    await bench.queue.add_bulk([("a", None)] * 4)
    done, failed, back, also_done = await bench.activated(4)
    bench.connection.error = error()
    bench.link.slots = 0  # nothing more is to be activated: the completion goes alone
    bench.link.complete(done)
    bench.link.fail(failed)
    bench.pump.give_back(bench.link.end(back))
    await eventually(
        lambda: {"gmq_step", "gmq_fail"} <= set(bench.connection.refused), "both calls are refused"
    )
    bench.link.slots = 2  # and this one with a call that activates
    bench.link.complete(also_done)
    await eventually(lambda: len(bench.observer.troubles) > 4, "they are repeated")
    assert not bench.link.settled_receipts
    bench.link.slots = 0
    bench.connection.error = None
    await eventually(lambda: bench.pump.settled, "everything is delivered")
    assert sorted(bench.link.settled_receipts) == sorted(
        f"receipt of {job}" for job in (done, failed, also_done)
    )
    counts = await bench.queue.get_job_counts()
    assert (counts["completed"], counts["failed"], counts["waiting"]) == (2, 1, 1)
    assert await bench.activated(1) == [back]


async def test_an_answer_that_is_an_error_is_no_outage(bench: Bench) -> None:
    """Leases of other queues are in no danger, and the calls of this one come less and less often."""
    bench.connection.error = ServerError("WRONGTYPE")
    bench.pump.poll()
    await eventually(lambda: len(bench.observer.troubles) == 3, "three refusals")
    assert bench.outages == []
    loop = asyncio.get_running_loop()
    before = loop.time()
    await eventually(lambda: len(bench.observer.troubles) == 5, "two more")
    assert loop.time() - before > 0.4
    bench.connection.error = None
    await eventually(lambda: not bench.pump.hungry and bench.pump.settled, "an answer")
    bench.connection.error = GlideMQError("again")
    bench.pump.poll()
    await eventually(lambda: len(bench.observer.troubles) == 6, "the next refusal")
    before = loop.time()
    await eventually(lambda: len(bench.observer.troubles) == 7, "and the one after it")
    assert loop.time() - before < 0.2, "the answer did not end the back-off"


async def test_an_abandoned_pump_makes_no_more_calls(bench: Bench) -> None:
    await bench.queue.add_bulk([("a", None)] * 2)
    first, second = await bench.activated(2)
    bench.connection.error = ClosedError("closed")
    bench.link.fail(first)
    await eventually(lambda: bench.connection.refused, "the call is refused")
    await bench.pump.abandon()
    refused = len(bench.connection.refused)
    bench.link.fail(second)
    bench.pump.poll()
    for _ in range(100):
        await asyncio.sleep(0)
    assert len(bench.connection.refused) == refused
    assert not bench.pump._tasks


async def test_what_the_reader_claims_as_the_intake_closes_goes_back_at_once(bench: Bench) -> None:
    await bench.looked()
    job = await bench.queue.add("a", None)
    assert job is not None
    bench.pump.close_intake()
    bench.pump.claim(*await bench.read())
    assert not bench.pump.settled
    await eventually(lambda: bench.pump.settled, "the claim is returned")
    assert not bench.link.leases
    bench.pump.open_intake()
    assert await bench.activated(1) == [job.id]


async def test_a_doubt_that_arises_while_orphans_are_looked_for_is_kept(bench: Bench) -> None:
    """A read fails at that moment, after the server has claimed an entry for it."""
    await bench.looked()
    bench.link.slots = 0
    job = await bench.queue.add("a", None)
    assert job is not None
    execute = bench.connection.execute

    async def claim_afterwards(command: Command[Any]) -> Any:
        result = await execute(command)
        if command.function == "gmq_recover_orphans" and "claimed" not in told:
            told.append("claimed")
            await bench.read()
            bench.pump.recheck_orphans()
            bench.pump.poll()  # the call that is to follow has not been made yet: this wish is not about it
        return result

    told: list[str] = []
    bench.connection.execute = claim_afterwards  # type: ignore[method-assign]
    bench.pump.recheck_orphans()
    bench.link.slots = 1
    bench.pump.poll()
    await eventually(lambda: told, "the lost claim")
    await eventually(lambda: bench.link.leases, "the entry is found")


async def test_job_that_ends_while_a_call_learns_of_a_limit_lets_the_next_one_start(bench: Bench) -> None:
    await bench.queue.set_global_concurrency(1)
    await bench.queue.add_bulk([("a", None)] * 2)
    (first,) = await bench.activated(1)
    execute = bench.connection.execute

    async def end_meanwhile(command: Command[Any]) -> Any:
        result = await execute(command)
        if first in bench.link.leases:
            assert result.blocked and not result.activations
            bench.link.complete(first)
        return result

    bench.connection.execute = end_meanwhile  # type: ignore[method-assign]
    bench.link.slots = 2
    bench.pump.poll()
    await eventually(
        lambda: bench.link.leases and first not in bench.link.leases, "the other one", within_s=5
    )
