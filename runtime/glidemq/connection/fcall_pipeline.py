"""Sends function calls: those made in one turn of the event loop leave as one pipelined batch."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from glidemq.clock import monotonic_s

if TYPE_CHECKING:
    from glidemq.connection.glide_client import GlideApi

# One request through glide costs the client 60-180 µs of CPU, a call inside a batch about 5 µs.
MAX_BATCH_CALLS = 256
# Keeps the server from being blocked by one batch: 64 calls of 1 MiB took it 100-150 ms.
MAX_BATCH_BYTES = 1 << 20
# 1 to 32 make no difference on one machine. Several hide the round trip to a distant server, few keep batches
# large.
MAX_BATCHES_IN_FLIGHT = 8
# Names a key that nobody ever writes, beside the queue's own. While a slot is moved key by key (SETSLOT, MIGRATE), a
# call would find some of the queue's keys on one node and write others on the other. A node refuses what names two keys
# of such a slot and has not both, with TRYAGAIN, before anything is executed: so the queue stands still until its slot
# has moved. (CLUSTER MIGRATESLOTS moves a slot as a whole and needs none of this.)
ABSENT = ":x-py:absent"


class UnsentError(Exception):
    """A call's time ran out while it waited to be sent, behind others that got no answer."""


class PendingCall(NamedTuple):
    """A call that waits to be sent, and the future of whoever made it."""

    function: str
    key: str
    arguments: bytes
    give_up_at: float
    reply: asyncio.Future[bytes]


class FcallPipeline:
    """Coalesces FCALLs and sends them through one glide client; jobs travel nowhere else.

    Replies and glide's exceptions are handed through unjudged. A call whose caller is cancelled before it was
    sent is dropped.
    Owns: the calls between being made and being answered. Stops when: the client closes.
    """

    def __init__(
        self, client: GlideApi, *, cluster: bool = False, max_in_flight: int = MAX_BATCHES_IN_FLIGHT
    ) -> None:
        """cluster: whether the client is one of a cluster, which has batches of its own kind."""
        self._client = client
        self._cluster = cluster
        self._max_in_flight = max_in_flight
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[PendingCall] = deque()
        self._flush_scheduled = False
        self._in_flight: set[asyncio.Task[None]] = set()
        # Requests sent so far: fewer than calls.
        self.requests = 0

    def submit(self, function: str, key: str, arguments: bytes, give_up_at: float) -> asyncio.Future[bytes]:
        """Queue one call for this turn's batch. The future gets the reply, or what glide raised.

        A call that cannot be sent before `give_up_at`, on the monotonic clock, gets UnsentError.
        """
        reply: asyncio.Future[bytes] = self._loop.create_future()
        self._waiting.append(PendingCall(function, key, arguments, give_up_at, reply))
        if not self._flush_scheduled:
            self._start_sender()
        return reply

    @property
    def idle(self) -> bool:
        """True when no call is waiting or in flight."""
        return not self._waiting and not self._in_flight

    def _start_sender(self) -> None:
        # A task begins in the next turn of the loop: whatever is submitted in this one is in time.
        if len(self._in_flight) < self._max_in_flight:
            self._flush_scheduled = True
            task = self._loop.create_task(self._send_waiting())
            self._in_flight.add(task)
            task.add_done_callback(self._sent)

    async def _send_waiting(self) -> None:
        self._flush_scheduled = False
        batch = self._take_batch()
        if self._waiting and not self._flush_scheduled:
            self._start_sender()
        if batch:
            await self._send(batch)

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._in_flight.discard(task)
        if self._waiting and not self._flush_scheduled:
            self._start_sender()

    def _take_batch(self) -> list[PendingCall]:
        now = monotonic_s()
        batch: list[PendingCall] = []
        size = 0
        while self._waiting and len(batch) < MAX_BATCH_CALLS:
            call = self._waiting[0]
            if call.reply.done():  # its caller was cancelled
                self._waiting.popleft()
            elif call.give_up_at < now:
                self._waiting.popleft().reply.set_exception(UnsentError())
            elif batch and size + len(call.arguments) > MAX_BATCH_BYTES:
                break
            else:
                size += len(call.arguments)
                batch.append(self._waiting.popleft())
        return batch

    async def _send(self, batch: list[PendingCall]) -> None:
        self.requests += 1
        try:
            replies = await self._exchange(batch)
        except asyncio.CancelledError:
            for call in batch:
                call.reply.cancel()
            raise
        except Exception as error:  # handed to the callers, who judge it
            replies = [error] * len(batch)
        for call, reply in zip(batch, replies, strict=True):
            if call.reply.done():  # its caller was cancelled
                continue
            if isinstance(reply, Exception):
                call.reply.set_exception(reply)
            else:
                call.reply.set_result(reply)

    async def _exchange(self, batch: list[PendingCall]) -> list[bytes | Exception]:
        if len(batch) == 1:
            call = batch[0]
            return [await self._client.fcall(call.function, self._keys(call), [call.arguments])]
        from glide import Batch, ClusterBatch

        commands = ClusterBatch(is_atomic=False) if self._cluster else Batch(is_atomic=False)
        for call in batch:
            commands.fcall(call.function, [*self._keys(call)], [call.arguments])
        return await self._client.exec(commands, raise_on_error=False)

    def _keys(self, call: PendingCall) -> list[str]:
        # The one key without a hash tag, of the queues' names, has a slot of its own.
        return [call.key, call.key + ABSENT] if self._cluster and "{" in call.key else [call.key]
