"""Makes one call until it is answered, hopeless or out of time: the rules of repeating, in one place."""

from __future__ import annotations

import asyncio
import random

from glidemq.clock import monotonic_s
from glidemq.config import ConnectionOptions
from glidemq.connection.endpoint import Endpoint
from glidemq.connection.error_mapping import Failure, Verdict, classify
from glidemq.connection.fcall_pipeline import FcallPipeline, UnsentError
from glidemq.connection.library_loader import LibraryLoader
from glidemq.connection.queue_pipelines import QueuePipelines
from glidemq.errors import (
    AuthenticationError,
    ConnectionError,
    GlideMQError,
    LibraryVersionError,
    UnknownOutcomeError,
)

# First and longest wait between repetitions; the client underneath reconnects after 20 to 640 ms.
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.02, 0.64
# The library may vanish again while a call waits for it, but a server that never keeps it is broken.
_LIBRARY_ATTEMPTS = 5
# How ["library_outdated", version] begins in msgpack: an array of two, a text of 16 bytes.
_OUTDATED = b"\x92\xb0library_outdated"


class RepeatingCaller:
    """Calls server functions over a pipeline and repeats what may be repeated.

    - Refused for a passing reason (loading, busy, fail-over): repeated, whatever the call does.
    - Library missing or outdated: loaded, then repeated.
    - No reply: repeated if the call is replayable, else UnknownOutcomeError at once.
    All within `request_deadline` of the first attempt; then the last reason is raised, or UnknownOutcomeError
    if any attempt may have been executed.
    """

    def __init__(
        self,
        pipeline: FcallPipeline | QueuePipelines,
        loader: LibraryLoader,
        options: ConnectionOptions,
        endpoint: Endpoint,
    ) -> None:
        self._pipeline = pipeline
        self._loader = loader
        self._place = options.place
        self._deadline_s = options.request_deadline
        self._endpoint = endpoint

    async def call(self, function: str, key: str, arguments: bytes, *, replayable: bool) -> bytes:
        """Make one call; returns the undecoded reply or raises as `Connection.execute` says."""
        give_up_at = monotonic_s() + self._deadline_s
        unknown: GlideMQError | None = None
        reason: GlideMQError | None = None
        library_attempts = 0
        wait_s = _FIRST_WAIT_S
        while True:
            epoch = self._loader.epoch(key)
            try:
                failure = await self._attempt(function, key, arguments, give_up_at)
            except UnsentError:
                late = f"{function} of {key}: {self._place} does not answer; nothing was executed"
                raise unknown or reason or ConnectionError(late) from None
            if isinstance(failure, bytes):
                return failure
            reason = failure.error
            if failure.verdict is Verdict.UNKNOWN:
                unknown = failure.error
                if not replayable:
                    raise unknown
            elif failure.verdict is Verdict.LIBRARY_MISSING:
                library_attempts += 1
                if library_attempts > _LIBRARY_ATTEMPTS:
                    raise _hopeless(failure.error, self._place) from failure.error
                missing_still = await self._load_library(key, epoch)
                if missing_still is None:
                    continue
                failure = missing_still
            if failure.verdict is Verdict.FINAL:
                raise _or_unknown(failure.error, unknown)
            pause_s = wait_s * random.uniform(0.5, 1.5)  # noqa: S311 - jitter
            if monotonic_s() + pause_s > give_up_at:
                raise unknown or failure.error
            await asyncio.sleep(pause_s)
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
            await self._endpoint.revive()

    async def _attempt(self, function: str, key: str, arguments: bytes, give_up_at: float) -> bytes | Failure:
        try:
            reply = await self._pipeline.submit(function, key, arguments, give_up_at)
        except UnsentError:
            raise
        except Exception as error:
            return classify(error, action=f"{function} of {key}", place=self._place)
        if reply.startswith(_OUTDATED):
            return Failure(
                Verdict.LIBRARY_MISSING,
                LibraryVersionError(f"{function} needs a newer function library than it found"),
            )
        return reply

    async def _load_library(self, key: str, epoch: int) -> Failure | None:
        """None once it is loaded; otherwise why not."""
        try:
            await self._loader.ensure(key, epoch)
        except AuthenticationError as error:
            return Failure(Verdict.FINAL, error)
        except ConnectionError as error:
            # The call itself was refused, and loading twice is harmless: a lost reply leaves nothing unknown.
            return Failure(Verdict.NOT_EXECUTED, ConnectionError(str(error)))
        except GlideMQError as error:
            return Failure(Verdict.FINAL, error)
        return None


def _hopeless(error: GlideMQError, place: str) -> LibraryVersionError:
    return LibraryVersionError(
        f"the function library of {place} lacks a function although it was loaded "
        f"(is another version of glidemq at work that replaces it?): {error}"
    )


def _or_unknown(error: GlideMQError, unknown: GlideMQError | None) -> GlideMQError:
    """An earlier attempt without a reply makes "nothing was executed" untrue."""
    if unknown is None:
        return error
    return UnknownOutcomeError(f"{unknown}; repeating it was refused: {error}")
