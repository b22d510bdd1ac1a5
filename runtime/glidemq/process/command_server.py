"""Executes the commands that processors send through the rings."""

from __future__ import annotations

import asyncio
import logging

from glidemq.connection.connection import Connection
from glidemq.errors import GlideMQError, ServerError, UnknownOutcomeError
from glidemq.process.actor_channel import ActorChannel, Receipt
from glidemq.process.messages import NO_ERROR, error_header
from glidemq.rings.records import CommandHeader, Record, RecordKind

log = logging.getLogger("glidemq.gateway")

FULL_RING_RETRY_S = 0.002
# A reply has no limit, a record has: a list of jobs with their data comes in several.
PART_BYTES = 1 << 20


class CommandServer:
    """Passes each command on to the cell's command connection and its reply back into the ring.

    The connection pipelines what arrives in one turn of the loop, from all actors together.
    Owns: one task per command in progress.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._tasks: set[asyncio.Task[None]] = set()

    def accept(self, channel: ActorChannel, record: Record, receipt: Receipt) -> None:
        """Begin to execute one command."""
        # What an earlier gateway had read, it may have executed (feasibility 8).
        read_before = receipt.position <= channel.side.outbound.read_before
        task = asyncio.get_running_loop().create_task(self._answer(channel, record, receipt, read_before))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(
        self, channel: ActorChannel, record: Record, receipt: Receipt, read_before: bool
    ) -> None:
        reply, error = b"", NO_ERROR
        try:
            header = CommandHeader.unpack(record.header)
            if read_before and not header.replayable:
                raise UnknownOutcomeError(
                    "the gateway was replaced while this call was in progress: it was executed 0 or 1 times"
                )
            reply = await self._connection.call(
                header.function.decode(), header.queue_key.decode(), record.body, replayable=header.replayable
            )
        except GlideMQError as failure:
            error = error_header(failure)
        except Exception as defect:  # whatever it is, somebody waits for an answer
            log.exception("a command of %s failed", channel.label)
            error = error_header(ServerError(f"the gateway could not execute the command: {defect}"))
        parts = [reply[start : start + PART_BYTES] for start in range(0, len(reply), PART_BYTES)] or [b""]
        for part in parts[:-1]:
            await self._push(channel, receipt, RecordKind.REPLY_PART, record.seq, NO_ERROR, part)
        await self._push(channel, receipt, RecordKind.REPLY, record.seq, error, parts[-1])
        channel.acknowledge(receipt)

    @staticmethod
    async def _push(
        channel: ActorChannel, receipt: Receipt, kind: RecordKind, seq: int, header: bytes, body: bytes
    ) -> None:
        """Put a record into the reply ring as soon as there is room, unless the process that waits for it is dead."""
        while receipt.epoch == channel.epoch:
            if channel.try_reply(kind, seq, header, body):
                channel.bell.ring()
                return
            await asyncio.sleep(FULL_RING_RETRY_S)
