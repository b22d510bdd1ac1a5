"""Compares the server's books with ours: what it thinks we hold, and we do not, goes back to the queue."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from itertools import chain

from glidemq.commands.command import unpack
from glidemq.commands.recover_orphans import RecoverOrphansCommand
from glidemq.pipeline.completer import Outcome, Return
from glidemq.pipeline.lease import Lease
from glidemq.pipeline.pump_context import PumpContext, QueueSettings

log = logging.getLogger("glidemq.pipeline")

ORPHANS_PER_CALL = 500


def known_activations(
    leases: Iterable[Lease], returns: Iterable[Return], *outcomes: Iterable[Outcome]
) -> list[tuple[bytes, bytes]]:
    """(id, token) of every activation that this cell knows of, wherever it is."""
    known = [(lease.id, lease.token) for lease in leases]
    known += [(back.lease.id, back.lease.token) for back in returns]
    rows = (unpack(outcome.row) for outcome in chain.from_iterable(outcomes))
    known += [(row[0], row[1]) for row in rows]
    return known


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
        log.info(
            "queue %r: jobs whose start was in doubt, and which were given back: %d", settings.queue, released
        )
    return released
