"""Publishing messages to every subscription."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Generic, cast

from typing_extensions import Unpack

from glidemq.client.queue_handle import QueueHandle
from glidemq.commands.keys import DEFAULT_PREFIX
from glidemq.commands.pause import PauseCommand
from glidemq.commands.rate_limit import RateLimitOnWire
from glidemq.commands.resume import ResumeCommand
from glidemq.commands.set_global_rate_limit import SetGlobalRateLimitCommand
from glidemq.commands.trim_broadcast import TrimBroadcastCommand
from glidemq.config import ConnectionOptions
from glidemq.connection.connection import Connection
from glidemq.errors import ValidationError
from glidemq.job.record import In
from glidemq.options import JobOptions, RateLimit
from glidemq.options.rate_limit import rate_limit_to_wire
from glidemq.payload.compression import CompressionName
from glidemq.serializer import JSON_SERIALIZER, Serializer

# What decides about the order or the end of a job, which a message has in each subscription anew.
REFUSED_OPTIONS: Final = ("priority", "lifo", "ordering", "cost", "remove_on_complete", "remove_on_fail")


class Broadcast(QueueHandle, Generic[In]):
    """A stream of messages that every subscription gets, each once; read by `BroadcastWorker`s.

    name: as for a queue, and in the same place: a name is a queue or a broadcast.
    max_messages: keep so many of the newest; older ones are deleted with the next `publish`, whether they were read or
        not. None keeps all of them.
    connection, client, prefix, serializer, compression, events: as for `Queue`.

    Raises ValidationError and ConfigurationError as `Queue` does. Source: features page, section 23.
    """

    _kind = "Broadcast"

    def __init__(
        self,
        name: str,
        *,
        max_messages: int | None = None,
        connection: str | ConnectionOptions | None = None,
        client: Connection | None = None,
        prefix: str = DEFAULT_PREFIX,
        serializer: Serializer = JSON_SERIALIZER,
        compression: CompressionName | None = None,
        events: bool = True,
    ) -> None:
        if max_messages is not None:
            most = cast(object, max_messages)
            if isinstance(most, bool) or not isinstance(most, int) or most < 1:
                raise ValidationError("max_messages must be a positive integer")
        super().__init__(
            name,
            connection=connection,
            client=client,
            prefix=prefix,
            serializer=serializer,
            compression=compression,
            events=events,
        )
        self._max_messages = max_messages

    async def publish(self, subject: str, data: In, **options: Unpack[JobOptions]) -> str | None:
        """Publish a message; its id, or None when nothing was published, as a message with its `job_id` exists.

        subject: what subscriptions choose by, words separated by dots, such as "orders.created.eu".
        options: those of a job, which concern each subscription's run of it: attempts, backoff, timeout, ttl …
            A delayed message is published later.

        Raises:
            ValidationError: an option that has no meaning here: priority, lifo, ordering, cost, remove_on_complete,
                remove_on_fail; or a `job_id` with "||" in it. And whatever `Queue.add` raises.
        """
        self._check_open()
        for name in REFUSED_OPTIONS:
            if options.get(name):
                raise ValidationError(
                    f"a broadcast's messages are delivered in the order of their publishing and kept for all"
                    f" subscriptions: {name} has no meaning for them"
                )
        if "||" in (options.get("job_id") or ""):
            raise ValidationError('the job_id of a message must not contain "||"')
        message_id = await self._adder.submit(self._preparation.prepare(subject, data, options).row)
        if self._max_messages is not None:
            await self._last_page(TrimBroadcastCommand(self._queue_key, max_messages=self._max_messages))
        return message_id

    async def set_global_rate_limit(self, limit: RateLimit | Mapping[str, Any] | None) -> None:
        """Let at most `max` deliveries start per `duration`, in all subscriptions together; None lifts the limit.

        Raises:
            ValidationError: a max below 1, or a duration that is none.
        """
        on_wire = None
        if limit is not None:
            wire = rate_limit_to_wire(limit, "limit")
            on_wire = RateLimitOnWire(wire["max"], wire["duration"])
        await self._execute(SetGlobalRateLimitCommand(self._queue_key, limit=on_wire))

    async def pause(self) -> None:
        """Start no further deliveries, on any worker of this library, until `resume`. Publishing goes on."""
        await self._execute(PauseCommand(self._queue_key))

    async def resume(self) -> None:
        """Deliver again."""
        await self._execute(ResumeCommand(self._queue_key))
