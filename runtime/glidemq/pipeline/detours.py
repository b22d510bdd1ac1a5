"""Takes the detour that a processor asked for by raising."""

from __future__ import annotations

import logging
from typing import Any, Final

from glidemq.errors import ConnectionError, DetourError
from glidemq.job import AbortFlag, Job, SyncJob
from glidemq.job.stepping import Pause, Steps

log = logging.getLogger("glidemq.processor")

FIRST_PAUSE_S: Final = 0.05
LONGEST_PAUSE_S: Final = 1.0


def until_answered(
    job: Job[Any, Any] | SyncJob[Any, Any], request: DetourError, flag: AbortFlag
) -> Steps[None]:
    """The detour's steps, again and again while the server is away: as with outcomes, a job is not charged for that.

    It ends with the connection's error if the run is aborted meanwhile. Repeating is harmless, since the command spends
    the run's token.
    """
    pause_s = FIRST_PAUSE_S
    while True:
        try:
            yield from job.detour_steps(request)
            return
        except ConnectionError as error:
            if flag.reason():
                raise
            if pause_s == FIRST_PAUSE_S:
                log.warning("job %s of %r: %s; what it asked for is repeated", job.id, job.queue_name, error)
        yield Pause(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
