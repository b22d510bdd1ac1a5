"""What rings, ledger and doorbells cost: `python -m glidemq_bench.rings [--records N] [--bytes N]`.

Prints microseconds per operation (best of several runs: the other work of the machine only adds), and the
throughput of one ring between two processes, with the CPU that each of them spent on a record.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from collections.abc import Callable

from glidemq.rings import ActorSegment, ActorSide, GatewaySide, JobIdentity, RecordKind
from glidemq.shared_memory import Doorbell, Segment, full_fence

BATCH = 64
RUNS = 5
PING_PONGS = 20_000
SPILLED_BYTES = 256 * 1024
IDENTITY = JobIdentity(
    1_700_000_000_000, 0, b"thumbnails", b"184467", b"k3v9x2.17", b"1700000000000-0", b"resize"
).pack()


def cpu_s() -> float:
    """CPU time of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def show(what: str, value: float, unit: str) -> None:
    """One line of the report."""
    print(f"{what:<58}{value:>12,.2f} {unit}")


class OneProcess:
    """Both sides in one process, filled and emptied batch by batch. Owns: a segment. Stops when: closed."""

    def __init__(self, record_bytes: int) -> None:
        self.segment = ActorSegment.create()
        self.attached = (ActorSegment.attach(self.segment.fds()), ActorSegment.attach(self.segment.fds()))
        self.gateway: GatewaySide = self.attached[0].gateway_side()
        self.actor: ActorSide = self.attached[1].actor_side(1)
        self.body = b"x" * max(0, record_bytes - len(IDENTITY))
        self.seq = 0

    def close(self) -> None:
        """Give the memory back."""
        for segment in (*self.attached, self.segment):
            segment.close()

    def fill(self) -> None:
        """Push a batch towards the actor."""
        push, body, seq = self.gateway.activations.try_push, self.body, self.seq
        for number in range(seq + 1, seq + BATCH + 1):
            push(RecordKind.ACTIVATION, number, IDENTITY, body)
        self.seq = seq + BATCH

    def pop_many(self) -> None:
        """Take the batch at once."""
        self.actor.activations.pop_many(BATCH)

    def pop_one_by_one(self) -> None:
        """Take the batch record by record."""
        pop = self.actor.activations.try_pop
        for _ in range(BATCH):
            pop()

    def read_and_settle(self) -> None:
        """Read the batch ahead, and settle each record."""
        settle = self.actor.activations.settle
        for _, position in self.actor.activations.read_many(BATCH):
            settle(position)

    def run_jobs(self) -> None:
        """All that an actor does for a job, the job's own work apart."""
        actor, body = self.actor, self.body
        for activation in actor.take_activations(BATCH):
            actor.start(activation)
            record = activation.record
            actor.outbound.try_push(RecordKind.COMPLETION, record.seq, record.header, body)
            actor.finish(activation)

    def settle_outcomes(self) -> None:
        """The gateway's part of it."""
        settle = self.gateway.outbound.settle
        for _, position in self.gateway.outbound.read_many(BATCH):
            settle(position)


def best_us(
    records: int, before: Callable[[], None], measured: Callable[[], None], after: Callable[[], None]
) -> float:
    """Least CPU microseconds that one record of `measured` took in any run."""
    best = float("inf")
    for _ in range(RUNS):
        spent_ns = 0
        for _ in range(records // BATCH // RUNS):
            before()
            began_ns = time.perf_counter_ns()
            measured()
            spent_ns += time.perf_counter_ns() - began_ns
            after()
        best = min(best, spent_ns / 1000 / (records // BATCH // RUNS * BATCH))
    return best


def nothing() -> None:
    """Before or after a measurement that needs no preparation."""


def measure_one_process(records: int, record_bytes: int) -> None:
    """The cost of each operation, alone."""
    bench = OneProcess(record_bytes)
    show(f"push, {record_bytes} bytes", best_us(records, nothing, bench.fill, bench.pop_many), "us")
    show("pop_many, batches of 64", best_us(records, bench.fill, bench.pop_many, nothing), "us")
    show("try_pop", best_us(records, bench.fill, bench.pop_one_by_one, nothing), "us")
    show("read_many + settle", best_us(records, bench.fill, bench.read_and_settle, nothing), "us")
    jobs = best_us(records, bench.fill, bench.run_jobs, bench.settle_outcomes)
    show("actor, per job: take, start, push outcome, finish", jobs, "us")
    bench.body = b"x" * SPILLED_BYTES
    spilled = best_us(BATCH * RUNS * 4, nothing, lambda: spill_batch(bench), nothing)
    show(f"push + pop, spilled body of {SPILLED_BYTES // 1024} KiB", spilled, "us")
    bench.close()


def spill_batch(bench: OneProcess) -> None:
    """Push and pop one spilled record after the other."""
    for _ in range(BATCH):
        bench.gateway.activations.try_push(RecordKind.ACTIVATION, 1, IDENTITY, bench.body)
        bench.actor.activations.try_pop()


def measure_two_processes(records: int, record_bytes: int) -> None:
    """A gateway that pushes as fast as it can, and a forked actor that sleeps whenever its ring is empty."""
    segment = ActorSegment.create()
    words = Segment.create(4096, name="bench-bells")
    bells = (Doorbell.create_fd(), Doorbell.create_fd())
    body = b"x" * max(0, record_bytes - len(IDENTITY))
    report_read, report_write = os.pipe()
    child = os.fork()
    if child == 0:
        actor_side = ActorSegment.attach(segment.fds()).actor_side(1)
        consume(actor_side, attach_bells(words, bells), records, report_write)
        os._exit(0)
    side = ActorSegment.attach(segment.fds()).gateway_side()
    own, other = attach_bells(words, bells)
    began, cpu_before, pushed, refused = time.perf_counter(), cpu_s(), 0, 0
    push = side.activations.try_push
    while pushed < records:
        for _ in range(BATCH):
            if pushed == records or not push(RecordKind.ACTIVATION, pushed + 1, IDENTITY, body):
                break
            pushed += 1
        else:
            other.ring()
            continue
        other.ring()
        if pushed < records:
            refused += 1
            own.prepare_sleep()
            if side.activations.unread_bytes() > segment.sizes.activation_bytes // 2:
                own.wait(1.0)
            else:
                own.cancel_sleep()
    writer_cpu_s = cpu_s() - cpu_before
    reader_cpu_s = float(os.read(report_read, 100))
    elapsed_s = time.perf_counter() - began
    os.waitpid(child, 0)
    show(f"two processes, {record_bytes} bytes", records / elapsed_s, "records/s")
    show("  writer's CPU", writer_cpu_s / records * 1e6, "us per record")
    show("  reader's CPU", reader_cpu_s / records * 1e6, "us per record")
    show("  times the ring was full", refused, "")
    for fd in (*bells, report_read, report_write):
        os.close(fd)
    segment.close()
    words.close()


def attach_bells(segment: Segment, fds: tuple[int, int]) -> tuple[Doorbell, Doorbell]:
    """The gateway's bell and the actor's."""
    words = Segment.attach(segment.fd, 4096).words(0, 64)
    return Doorbell(fds[0], words[0:1]), Doorbell(fds[1], words[32:33])


def consume(side: ActorSide, bells: tuple[Doorbell, Doorbell], records: int, report: int) -> None:
    """The forked actor: pops until it has everything, then reports its CPU time."""
    other, own = bells
    before, popped = cpu_s(), 0
    while popped < records:
        batch = side.activations.pop_many(BATCH)
        popped += len(batch)
        if side.activations.unread_bytes() < 1 << 18:
            other.ring()
        if not batch:
            own.prepare_sleep()
            if side.activations.is_empty():
                own.wait(1.0)
            else:
                own.cancel_sleep()
    os.write(report, b"%.9f" % (cpu_s() - before))


def measure_doorbell() -> None:
    """Fence, and the way to another process's wake-up and back."""
    began = time.perf_counter()
    for _ in range(PING_PONGS):
        full_fence()
    show("full fence", (time.perf_counter() - began) / PING_PONGS * 1e6, "us")
    words = Segment.create(4096, name="bench-bells")
    fds = (Doorbell.create_fd(), Doorbell.create_fd())
    child = os.fork()
    if child == 0:
        here, there = attach_bells(words, fds)
        answer(there, here)
        os._exit(0)
    here, there = attach_bells(words, fds)
    best = float("inf")
    for _ in range(PING_PONGS):
        here.prepare_sleep()
        began_ns = time.perf_counter_ns()
        there.ring_always()
        here.wait(5.0)
        best = min(best, time.perf_counter_ns() - began_ns)
    os.waitpid(child, 0)
    show("doorbell, both ways, best", best / 1000, "us")
    for fd in fds:
        os.close(fd)
    words.close()


def answer(own: Doorbell, other: Doorbell) -> None:
    """The forked side of the doorbell measurement."""
    for _ in range(PING_PONGS):
        own.prepare_sleep()
        own.wait(5.0)
        other.ring_always()


def main() -> None:
    """Measure everything once."""
    parser = argparse.ArgumentParser(prog="python -m glidemq_bench.rings", description=__doc__)
    parser.add_argument("--records", type=int, default=200_000, help="records per measurement")
    parser.add_argument("--bytes", type=int, default=300, help="bytes of header and body together")
    options = parser.parse_args()
    measure_one_process(options.records, options.bytes)
    measure_two_processes(options.records, options.bytes)
    measure_doorbell()


if __name__ == "__main__":
    main()
