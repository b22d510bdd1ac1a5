"""What every actor is: one loop, started once, stopped any number of times."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable

from glidemq.errors import ConnectionError, GlideMQError
from glidemq.pipeline.queue_pump import QueuePump

log = logging.getLogger("glidemq.actors")

START_AGAIN_S = 1.0


class Actor(ABC):
    """One loop of its own inside the cell's event loop, begun again should a defect end it: leases must be kept.

    Owns: its task. Stops when: `stop` is called; stopping twice, or before a start, does nothing.
    """

    name = "actor"

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None

    @abstractmethod
    async def run(self) -> None:
        """The loop; ends by cancellation."""

    def start(self) -> None:
        """Begin the loop."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(
                self._keep_running(), name=f"glidemq-{self.name}"
            )

    async def stop(self) -> None:
        """End the loop and wait until it has ended."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task

    async def _keep_running(self) -> None:
        while True:
            try:
                await self.run()
            except Exception:
                log.exception("%s ended unexpectedly and begins again", self.name)
            await asyncio.sleep(START_AGAIN_S)


async def for_each_queue(pumps: Iterable[QueuePump], call: Callable[[QueuePump], Awaitable[None]]) -> None:
    """Do something for every queue, all in one turn so that the calls share a batch.

    A queue that the server refuses keeps no other from its turn. Raises what went wrong, the connection's error first.
    """
    results = await asyncio.gather(*(call(pump) for pump in pumps), return_exceptions=True)
    errors = [result for result in results if isinstance(result, BaseException)]
    errors.sort(key=lambda error: not isinstance(error, ConnectionError))
    if errors:
        raise errors[0]


class PeriodicActor(Actor):
    """An actor that does one bounded thing at an interval; a server that is away delays it, nothing more."""

    def __init__(self, interval_s: float) -> None:
        super().__init__()
        self.interval_s = interval_s

    @abstractmethod
    async def tick(self) -> None:
        """Do the thing once."""

    async def run(self) -> None:
        """Tick, sleep, again."""
        while True:
            try:
                await self.tick()
            except GlideMQError as error:
                log.debug("%s: %s; trying again in %.1f s", self.name, error, self.interval_s)
            await asyncio.sleep(self.interval_s)
