"""Compares the server's books with ours: what it thinks we hold, and we do not, goes back to the queue."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from glidemq.commands.recover_orphans import RecoverOrphansCommand
from glidemq.pipeline.pump_context import PumpContext, QueueSettings

log = logging.getLogger("glidemq.pipeline")

ORPHANS_PER_CALL = 500


async def release_orphans(
    settings: QueueSettings, context: PumpContext, known: Sequence[tuple[bytes, bytes]]
) -> int:
    """Release every activation of this cell whose (id, token) is not `known`; their number (feasibility 2).

    No activating call of the queue may be in flight. Raises ConnectionError and ServerError.
    """
    released = 0
    cursor = ""
    while True:
        result = await context.connection.execute(
            RecoverOrphansCommand(
                settings.keys.meta,
                consumer=context.consumer,
                cell=context.consumer,
                known=known,
                cursor=cursor,
                limit=ORPHANS_PER_CALL,
            )
        )
        released += len(result.released)
        cursor = result.next_cursor
        if not cursor:
            break
    if released:
        log.info("queue %r: gave back %d jobs whose start was in doubt", settings.queue, released)
    return released
