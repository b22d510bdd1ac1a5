"""The blocking reads of a cell: one over all queues, or, in a cluster, one for each of them, up to a bound."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection

from glidemq.actors.actor import Actor
from glidemq.connection.connection import UnblockingConnection
from glidemq.connection.reader_connection import ReaderConnection
from glidemq.pipeline.queue_pump import QueuePump
from glidemq.pipeline.reader import Reader

# Each costs two connections to every node of the cluster, replicas included. Further queues share these readers.
MAX_CLUSTER_READERS = 8


class _ReaderActor(Actor):
    """One reader, the queues that it watches, and its connection."""

    name = "reader"

    def __init__(self, connection: ReaderConnection, make: Callable[[_ReaderActor], Reader]) -> None:
        super().__init__()
        self.connection = connection
        self.pumps: list[QueuePump] = []
        self.reader = make(self)

    async def run(self) -> None:
        await self.reader.run()

    async def stop(self) -> None:
        await self.reader.release()
        await super().stop()


class ReaderSet:
    """Gives every queue a reader.

    A read cannot span the slots of a cluster, not even those of one node, and of two blocking reads through one
    connection the second waits for the first: hence a reader with a connection of its own per queue.
    Owns: the readers and their connections. Stops when: stopped, then closed.
    """

    def __init__(
        self,
        *,
        consumer: str,
        connect: Callable[[], ReaderConnection],
        commands: UnblockingConnection,
        register: Callable[[Collection[QueuePump]], Awaitable[None]],
        block_ms: int,
        cluster: bool,
    ) -> None:
        self._connect = connect
        self._most = MAX_CLUSTER_READERS if cluster else 1
        self._actors: list[_ReaderActor] = []
        self._started = False

        def make(actor: _ReaderActor) -> Reader:
            return Reader(
                consumer=consumer,
                connection=actor.connection,
                commands=commands,
                pumps=lambda: actor.pumps,
                register=register,
                block_ms=block_ms,
                in_turns=cluster,
            )

        self._make = make

    def watch(self, pump: QueuePump) -> None:
        """Watch a queue from now on."""
        if len(self._actors) < self._most:
            actor = _ReaderActor(self._connect(), self._make)
            self._actors.append(actor)
            if self._started:
                actor.start()
        else:
            actor = min(self._actors, key=lambda actor: len(actor.pumps))
        actor.pumps.append(pump)

    @property
    def size(self) -> int:
        """How many readers there are."""
        return len(self._actors)

    @property
    def blocking(self) -> bool:
        """True while any read is in progress."""
        return any(actor.reader.blocking for actor in self._actors)

    def reconsider(self) -> None:
        """Have every reader look again at which queues to watch."""
        for actor in self._actors:
            actor.reader.reconsider()

    def start(self) -> None:
        """Begin to read."""
        self._started = True
        for actor in self._actors:
            actor.start()

    async def stop(self) -> None:
        """End the reads in progress, and begin none."""
        self._started = False
        await asyncio.gather(*(actor.stop() for actor in self._actors))

    async def close(self) -> None:
        """Disconnect."""
        await asyncio.gather(*(actor.connection.close() for actor in self._actors))
