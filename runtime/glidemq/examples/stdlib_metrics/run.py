"""The whole example: supervisor, producer, summary, and the same work in a plain loop to compare with."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
from collections.abc import Sequence

from rich.console import Console
from rich.progress import track

from glidemq import GlideMQError
from glidemq.examples.plain_text import print_plain
from glidemq.examples.stdlib_metrics.measure import stdlib_files
from glidemq.examples.stdlib_metrics.plain_loop import run_plain_loop
from glidemq.examples.stdlib_metrics.processors import QUEUE
from glidemq.examples.stdlib_metrics.produce import MeasureQueue, QueueRun, produce
from glidemq.examples.stdlib_metrics.summary import Totals, print_totals
from glidemq.examples.supervisor_process import SupervisorProcess

APP = "glidemq.examples.stdlib_metrics:app"
INTERRUPTED = 130  # what a shell expects after Ctrl-C


class SupervisorEndedError(Exception):
    """The supervisor ended before the work did; its last log lines say why."""


async def run_through_queue(paths: Sequence[str], procs: str, console: Console) -> tuple[QueueRun, int]:
    """Start the supervisor, work the files off, drain it; the result and the supervisor's exit status.

    Raises SupervisorEndedError when the supervisor gives up first.
    """
    async with MeasureQueue(QUEUE) as queue, SupervisorProcess(APP, console, "--procs", procs) as supervisor:
        producing = asyncio.create_task(produce(queue, paths, console))
        ending = asyncio.create_task(supervisor.ended())
        try:
            await asyncio.wait({producing, ending}, return_when=asyncio.FIRST_COMPLETED)
            if not producing.done():
                raise SupervisorEndedError(f"the supervisor ended with exit status {ending.result()}")
            result = await producing
        finally:
            ending.cancel()
            producing.cancel()
            await asyncio.wait({producing, ending})
        return result, await supervisor.stop()


async def run(paths: Sequence[str], procs: str, console: Console) -> tuple[QueueRun, int]:
    """Like `run_through_queue`; SIGTERM ends it as Ctrl-C does."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await run_through_queue(paths, procs, console)


def sample(paths: Sequence[str], limit: int | None) -> list[str]:
    """At most `limit` of the files, spread over all of them."""
    if limit is None or limit >= len(paths):
        return list(paths)
    return [paths[index * len(paths) // limit] for index in range(limit)]


def positive(text: str) -> int:
    """An integer above 0. Raises ValueError, which argparse turns into a message."""
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def report(queued: QueueRun, paths: Sequence[str], console: Console) -> bool:
    """Print the totals and the comparison with a plain loop; whether both have found the same."""
    totals = Totals.of(queued.records)
    print_totals(totals, console)
    for failure in queued.failures:
        print_plain(failure, console, "red")

    plain = run_plain_loop(track(paths, "the same in one plain loop", console=console, transient=True))
    same = Totals.of(plain.records) == totals and not queued.failures
    rate, plain_rate = len(paths) / queued.elapsed_s, len(paths) / plain.elapsed_s
    console.print(f"glidemq     {len(paths):,} jobs in {queued.elapsed_s:.1f} s: {rate:,.0f} jobs/s")
    console.print(f"plain loop  {len(paths):,} files in {plain.elapsed_s:.1f} s: {plain_rate:,.0f} files/s")
    console.print(
        f"{rate / plain_rate:.2f} times the rate of one process; "
        + ("both totals agree" if same else "THE TOTALS DIFFER"),
        style="bold" if same else "bold red",
    )
    return same


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the example; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m glidemq.examples.stdlib_metrics", description=__doc__)
    parser.add_argument("--procs", default="auto", help="actor processes; auto: one per usable core")
    parser.add_argument("--limit", type=positive, metavar="N", help="measure only N files, spread over all")
    options = parser.parse_args(arguments)

    # The supervisor finds the same server and says which; once is enough.
    logging.getLogger("glidemq.connection").setLevel(logging.ERROR)
    console = Console()
    paths = sample(stdlib_files(), options.limit)
    try:
        queued, status = asyncio.run(run(paths, options.procs, console))
    except (KeyboardInterrupt, asyncio.CancelledError):
        console.print("interrupted; the supervisor has stopped and the jobs are taken back")
        return INTERRUPTED
    except (SupervisorEndedError, GlideMQError) as error:
        print_plain(str(error), console, "red")
        return 1
    if not report(queued, paths, console):
        return 1
    if status != 0:
        console.print(f"the supervisor drained with exit status {status} instead of 0", style="red")
        return 1
    return 0
