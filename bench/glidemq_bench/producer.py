"""Adds the jobs of a benchmark, from a process of its own; the counterpart of bench/node/producer.mjs.

All at once, or one by one with a pause before each:

python -m glidemq_bench.producer --url URL --queue NAME --jobs N [--payload-bytes 100 | --data JSON]
python -m glidemq_bench.producer --url URL --queue NAME --jobs N --every-ms 30 [--kind lifo]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from typing import Any

import uvloop

from glidemq import Queue
from glidemq.options import JobOptions

BULK = 1_000
# What a job needs so that it takes each of the server's paths to a worker.
KINDS: dict[str, JobOptions] = {"fifo": {}, "lifo": {"lifo": True}, "priority": {"priority": 1}}


async def add_at_once(queue: Queue[Any, Any], jobs: int, data: object) -> None:
    """Add all jobs in bulk."""
    for first in range(0, jobs, BULK):
        await queue.add_bulk([("noop", data)] * min(BULK, jobs - first))


async def add_paced(queue: Queue[Any, Any], jobs: int, every_s: float, options: JobOptions) -> None:
    """Add one job at a time to a worker that has long been idle, each stamped just before the call."""
    for _ in range(jobs):
        await asyncio.sleep(every_s)
        await queue.add("noop", {"added_ns": time.monotonic_ns()}, **options)


async def produce(options: argparse.Namespace) -> None:
    """Do what the command line says."""
    async with Queue[Any, Any](options.queue, connection=options.url) as queue:
        if options.every_ms is not None:
            await add_paced(queue, options.jobs, options.every_ms / 1000, KINDS[options.kind])
        elif options.data is not None:
            await add_at_once(queue, options.jobs, json.loads(options.data))
        else:
            await add_at_once(queue, options.jobs, {"x": "x" * (options.payload_bytes - len('{"x":""}'))})


def main() -> None:
    """Parse the command line and add the jobs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--queue", required=True)
    parser.add_argument("--jobs", type=int, required=True)
    parser.add_argument("--payload-bytes", type=int, default=100)
    parser.add_argument("--data")
    parser.add_argument("--every-ms", type=float)
    parser.add_argument("--kind", choices=sorted(KINDS), default="fifo")
    uvloop.run(produce(parser.parse_args()))


if __name__ == "__main__":
    main()
