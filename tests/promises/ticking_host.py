"""A host that does nothing but tick the schedulers of a queue: python -m tests.promises.ticking_host URL QUEUE [freeze]

With `freeze` it stops itself (SIGSTOP) the first time it computes a cron slot: between the two calls of a tick, with
the lock in its hands.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from glidemq.actors import scheduler
from glidemq.commands.keys import QueueKeys
from glidemq.config import ConnectionOptions
from glidemq.connection import CommandConnection
from glidemq.options.cron import next_cron_run


async def tick(url: str, queue: str) -> None:
    async with CommandConnection(ConnectionOptions.from_url(url)) as connection:
        keys = QueueKeys("glide", queue)
        actor = scheduler.Scheduler(connection=connection, queues=lambda: [keys], interval_s=0.05)
        await connection.open()
        actor.start()
        print("ticking", flush=True)
        await asyncio.Event().wait()


def freeze_and_compute(pattern: str, tz: str | None, after_ms: int) -> int | None:
    scheduler.next_cron_run = next_cron_run
    print("frozen", flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)
    print("resumed", flush=True)
    return next_cron_run(pattern, tz, after_ms)


if __name__ == "__main__":
    if sys.argv[3:] == ["freeze"]:
        scheduler.next_cron_run = freeze_and_compute
    asyncio.run(tick(sys.argv[1], sys.argv[2]))
