"""Tokens a second through `job.stream`, 200 streams at a time, against one XADD per token with 200 in flight.

python -m glidemq_bench.streaming [--rounds 3] [--streams 200] [--tokens 1000] [--apart]

Every stream waits for a token to be stored before it sends the next one. Tokens are counted from outside, by the
server's own count of XADDs, between the first and the last tenth of them; CPU µs per token cover the same window, and
"others" is how many cores the rest of the machine kept busy in it. All run against one server, in turns:

Worker       job.stream in a program of one's own
supervisor   job.stream in an actor process, through its gateway
XADD         valkey-glide's xadd, without any job

With --apart the server has one core and each writer another. Otherwise their threads wander over all cores, and on a
small machine how they happen to meet decides up to a third of the result, from one second to the next.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from glidemq_bench.measuring import interleaved, median, print_table
from glidemq_bench.process_tree import TreeUsage
from glidemq_bench.workbench import Workbench

TIMEOUT_S = 180.0


class Writing(NamedTuple):
    """One round of one writer."""

    tokens_per_s: float
    writers_cpu_us: float
    server_cpu_us: float
    others_cores: float


def count(bench: Workbench) -> int:
    """The XADDs that the server has executed, those inside of functions included."""
    return int(bench.client.info("commandstats").get("cmdstat_xadd", {}).get("calls", 0))


def watch(bench: Workbench, start: Callable[[], subprocess.Popen[bytes]], tokens: int) -> Writing:
    """Start a writer, and look at it between the first and the last tenth of its tokens."""
    bench.client.config_resetstat()
    writer = start()
    server = bench.server_pid
    deadline_s = time.monotonic() + TIMEOUT_S

    def wait_for(number: int) -> tuple[float, int]:
        while (done := count(bench)) < number:
            if writer.poll():
                raise RuntimeError(f"a writer ended with exit status {writer.returncode}")
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"{done} of {tokens} tokens were written after {TIMEOUT_S:g} s")
            time.sleep(0.01)  # each look costs the server 0.2 ms
        return time.monotonic(), done

    begin_s, begin = wait_for(tokens // 10)
    before = TreeUsage.of(writer.pid, server)
    end_s, end = wait_for(tokens - tokens // 10)
    after = TreeUsage.of(writer.pid, server)
    wait_for(tokens)
    bench.stop(writer)
    bench.client.flushdb()
    written, seconds = end - begin, end_s - begin_s
    server_s = after.cpu_since(before, server)
    return Writing(
        written / seconds,
        (after.cpu_since(before) - server_s) / written * 1e6,
        server_s / written * 1e6,
        after.others_since(before) / seconds,
    )


def writer(bench: Workbench, how: str, streams: int, tokens: int) -> subprocess.Popen[bytes]:
    """A `stream_writer`."""
    flags = ["--url", bench.url, "--how", how, "--streams", str(streams), "--tokens", str(tokens)]
    return bench.spawn([sys.executable, "-m", "glidemq_bench.stream_writer", *flags])


def by_jobs(
    bench: Workbench, start: Callable[[], subprocess.Popen[bytes]], streams: int, tokens: int
) -> Writing:
    """One round of a writer that needs jobs."""
    bench.produce("streams", streams, data=f'{{"tokens":{tokens}}}')
    return watch(bench, start, streams * tokens)


def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--streams", type=int, default=200, help="at most 200, the concurrency of the processor"
    )
    parser.add_argument("--tokens", type=int, default=1000, help="of each stream")
    parser.add_argument("--apart", action="store_true", help="one core for the server, one for each writer")
    options = parser.parse_args()
    streams, tokens = options.streams, options.tokens
    cores = sorted(os.sched_getaffinity(0))
    if options.apart and len(cores) < 2:
        parser.error("--apart needs two cores")

    if options.apart:
        os.sched_setaffinity(0, cores[1:2])  # what is started from here on inherits it
    with Workbench() as bench:
        if options.apart:
            os.sched_setaffinity(0, cores[:1])
        contenders: dict[str, Callable[[], Writing]] = {
            "Worker": partial(
                by_jobs, bench, partial(writer, bench, "worker", streams, tokens), streams, tokens
            ),
            "supervisor": partial(
                by_jobs, bench, partial(bench.supervisor, "streams", procs=1), streams, tokens
            ),
            "XADD": partial(watch, bench, partial(writer, bench, "xadd", streams, tokens), streams * tokens),
        }
        samples = interleaved(options.rounds, contenders)

    by_hand = median([writing.tokens_per_s for writing in samples["XADD"]])
    print_table(
        f"Tokens of {streams} streams, medians of {options.rounds} rounds{', server apart' * options.apart}",
        ["", "tokens/s", "lowest", "highest", "writers µs/token", "server µs/token", "ratio", "others"],
        [
            [
                name,
                f"{median([writing.tokens_per_s for writing in writings]):,.0f}",
                f"{min(writing.tokens_per_s for writing in writings):,.0f}",
                f"{max(writing.tokens_per_s for writing in writings):,.0f}",
                f"{median([writing.writers_cpu_us for writing in writings]):.1f}",
                f"{median([writing.server_cpu_us for writing in writings]):.1f}",
                f"{median([writing.tokens_per_s for writing in writings]) / by_hand:.2f}",
                f"{median([writing.others_cores for writing in writings]):.2f}",
            ]
            for name, writings in samples.items()
        ],
    )


if __name__ == "__main__":
    main()
