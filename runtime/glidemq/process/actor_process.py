"""Entry point of an actor process, called in the child right after the fork."""

from __future__ import annotations

import logging

from glidemq.errors import GlideMQError
from glidemq.process import async_actor
from glidemq.process.actor_context import ActorContext
from glidemq.process.sync_actor import SyncActor
from glidemq.process_spec import EXIT_FAILED, ActorSpec

log = logging.getLogger("glidemq.actor")


def run(spec: ActorSpec) -> int:
    """Import the app, attach to the cell, and run its processors of this actor's kind until told to go."""
    try:
        context = ActorContext(spec)
    except GlideMQError as error:
        log.error("actor %d.%d cannot start: %s", spec.cell, spec.slot, error)
        return EXIT_FAILED
    if spec.crew.role == "sync":
        return SyncActor(context).run()
    return async_actor.run(context)
