"""The fields of a job, as they were when it was read; nothing here talks to the server.

A job comes out of a stored hash, out of an activation (in actor processes, tens of thousands a second), or
out of an `add` just made. So everything is kept as it came, and turned into Python values when somebody asks.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Generic, Literal, Self, cast

from typing_extensions import TypeVar

from glidemq.clock import wall_ms
from glidemq.errors import PayloadValidationError
from glidemq.job.abort_signal import AbortSignal
from glidemq.job.chunks import ChunkSource
from glidemq.job.stored_properties import StoredProperties
from glidemq.job.stored_values import instant, json_object, number
from glidemq.options import JobOptions, from_wire
from glidemq.payload import PLAIN_PAYLOAD, Payload

log = logging.getLogger("glidemq.job")

In = TypeVar("In", default=Any)
Out = TypeVar("Out", default=Any)

# What counts, beside failed attempts, runs that are followed by one from the top.
UNCHARGED_RUNS: Final = ("stalledCount", "x-py:crashes", "x-py:restarts")

_UNREAD: Any = object()
_NO_FIELDS: Mapping[str, Any] = {}


class JobRecord(StoredProperties, Generic[In, Out]):
    """What `Job` and `SyncJob` have in common: all fields of one job.

    `In` is the type of the data, `Out` that of the return value. Fields are as of the last reading;
    `refresh()` reads them again. Numbers and instants that others wrote and that make no sense read as 0 and
    None.
    """

    __slots__ = (
        "_abort_signal",
        "_chunks",
        "_connection",
        "_data",
        "_fields",
        "_opts",
        "_payload",
        "_processed_on",
        "_queue_key",
        "_raw_data",
        "_raw_opts",
        "_timestamp",
        "_tokens_of_usage",
        "_tokens_reported",
        "_usage_json",
        "attempts_made",
        "deserialization_failed",
        "discarded",
        "entry_id",
        "id",
        "name",
        "priority",
        "settled_as",
        "token",
    )

    id: str
    """Unique in the queue: a number as text, or the custom id."""
    name: str
    """What kind of job it is, as the producer calls it."""
    attempts_made: int
    """How many attempts have failed so far; 0 during the first one."""
    priority: int
    """1 to 2048, 1 being the most urgent; 0: none."""
    discarded: bool
    """True after `discard()`."""
    deserialization_failed: bool
    """True when `data` was read and could not be deserialized; it is {} then."""
    settled_as: Literal["", "left", "failed"]
    """How the server has ended this run already, at its own request: the job waits again, or has failed for good."""
    token: bytes
    """The fencing token of this activation; empty unless the job is being processed."""
    entry_id: bytes
    """The stream entry of this activation; empty for a job from a list, and unless it is being processed."""

    _queue_key: str
    _connection: Any
    _payload: Payload
    _abort_signal: AbortSignal | None
    _raw_data: bytes | None
    _data: Any
    _raw_opts: bytes
    _opts: Mapping[str, Any] | None
    _timestamp: Any
    _processed_on: Any
    _chunks: ChunkSource | None  # made when the job streams for the first time
    _usage_json: bytes | None  # what the latest report through this object came to
    _tokens_reported: int  # by `report_tokens` in this run; -1: not called
    _tokens_of_usage: int  # the total that `report_usage` gave in this run; -1: not called

    @property
    def waited_run(self) -> bytes | None:
        """The run that this one continues after a signal, as the server names it; None if there is none."""
        return self._fields.get("x-py:waited")

    @property
    def runs_over(self) -> int:
        """How many runs have ended and were followed, or may be, by one that starts from the top."""
        return self.attempts_made + sum(number(self._fields.get(name)) for name in UNCHARGED_RUNS)

    def go_on_as(self, activated: JobRecord[Any, Any]) -> None:
        """Become the job's new run: what a function that was left waiting has in hand is the running job again."""
        for kind in type(self).__mro__:
            for slot in getattr(kind, "__slots__", ()):
                if hasattr(activated, slot):
                    setattr(self, slot, getattr(activated, slot))

    # -- making one --------------------------------------------------------------------------------------

    @classmethod
    def from_activation(
        cls,
        fields: Sequence[Any],
        *,
        queue_key: str,
        connection: Any,
        payload: Payload = PLAIN_PAYLOAD,
        abort_signal: AbortSignal | None = None,
    ) -> Self:
        """A job that is about to be processed.

        fields: the decoded activation, [id, name, data, opts, timestamp, attemptsMade, priority,
            processed_on, token, entry_id, further fields], texts as bytes.
        queue_key: the queue's meta key, KEYS[1] of its commands.
        connection: for `Job` what has `async execute(command)`; for `SyncJob` a callable that executes a
        command.

        Raises:
            PayloadValidationError: the processor's annotation names a data type, and the data does not fit
            it.
        """
        job = cls.__new__(cls)
        (
            job_id,
            name,
            job._raw_data,
            job._raw_opts,
            job._timestamp,
            attempts_made,
            priority,
            job._processed_on,
            job.token,
            job.entry_id,
            further,
        ) = fields
        job.id = job_id.decode()
        job.name = name.decode("utf-8", "replace")
        job.attempts_made = number(attempts_made)
        job.priority = number(priority)
        job._fields = {key.decode(): value for key, value in further.items()} if further else _NO_FIELDS
        job._queue_key = queue_key
        job._connection = connection
        job._payload = payload
        job._abort_signal = abort_signal
        job._opts = None
        job._data = _UNREAD
        job._chunks = None
        job._usage_json = None
        job._tokens_reported = job._tokens_of_usage = -1
        job.discarded = False
        job.settled_as = ""
        job.deserialization_failed = False
        if payload.validates:
            job._read_data()
        return job

    @classmethod
    def from_hash(
        cls,
        fields: Mapping[str, Any],
        *,
        queue_key: str,
        connection: Any,
        payload: Payload = PLAIN_PAYLOAD,
    ) -> Self:
        """A stored job; `fields` are those of its hash, raw."""
        job = cls.__new__(cls)
        job._queue_key = queue_key
        job._connection = connection
        job._payload = payload
        job._abort_signal = None
        job._chunks = None
        job.discarded = False
        job.settled_as = ""
        job.token = job.entry_id = b""
        job._tokens_reported = job._tokens_of_usage = -1
        job._take_fields(fields)
        return job

    @classmethod
    def from_add(
        cls,
        job_id: str,
        name: str,
        data: In,
        raw_opts: bytes,
        priority: int,
        *,
        queue_key: str,
        connection: Any,
        payload: Payload,
    ) -> Self:
        """A job that was just added: `data` is the object that was given, `timestamp` this host's time."""
        job = cls.__new__(cls)
        job.id = job_id
        job.name = name
        job.attempts_made = 0
        job.priority = priority
        job.discarded = False
        job.settled_as = ""
        job.deserialization_failed = False
        job.token = job.entry_id = b""
        job._data = data
        job._raw_data = None
        job._raw_opts = raw_opts
        job._opts = None
        job._timestamp = wall_ms()
        job._processed_on = None
        job._tokens_reported = job._tokens_of_usage = -1
        job._fields = _NO_FIELDS
        job._chunks = None
        job._usage_json = None
        job._queue_key = queue_key
        job._connection = connection
        job._payload = payload
        job._abort_signal = None
        return job

    def _take_fields(self, fields: Mapping[str, Any]) -> None:
        self.id = fields["id"].decode()
        self.name = fields.get("name", b"").decode("utf-8", "replace")
        self.attempts_made = number(fields.get("attemptsMade"))
        self.priority = number(fields.get("priority"))
        self.deserialization_failed = False
        self._raw_data = fields.get("data")
        self._data = _UNREAD
        self._raw_opts = fields.get("opts", b"{}")
        self._opts = None
        self._timestamp = fields.get("timestamp")
        self._processed_on = fields.get("processedOn")
        self._fields = fields
        self._usage_json = None

    @property
    def tokens_of_run(self) -> int:
        """What this run counts for in a token limiter: the larger of what `report_tokens` and `report_usage` said.

        -1 when the processor has called neither.
        """
        return max(self._tokens_reported, self._tokens_of_usage)

    # -- payload -----------------------------------------------------------------------------------------

    @property
    def data(self) -> In:
        """What the producer gave: JSON values, or an instance of the type that the processor's annotation
        names. What is read through a `Queue` is always JSON values: a dict where a dataclass or a model went in.

        {} (with `deserialization_failed`) when the stored text cannot be deserialized, and when the job was
        read with `exclude_data=True`.
        """
        if self._data is _UNREAD:
            self._read_data()
        return cast(In, self._data)

    def _read_data(self) -> None:
        try:
            self._data = self._payload.load_data(self._raw_data or b"")
        except PayloadValidationError:
            raise
        except Exception as error:
            log.error(
                "job %s of queue %r: its data cannot be deserialized (%s); is another serializer in use?",
                self.id, self.queue_name, str(error) or type(error).__name__,
            )  # fmt: skip
            self.deserialization_failed = True
            self._data = self._payload.unreadable_data()
        self._raw_data = None

    @property
    def return_value(self) -> Out | None:
        """What the processor returned, as JSON gives it back; None before completion and for "no result"."""
        raw = self._fields.get("returnvalue")
        if not raw:
            return None
        try:
            return cast(Out, self._payload.load(raw))
        except Exception as error:
            log.error(
                "job %s of queue %r: its return value cannot be deserialized (%s)",
                self.id, self.queue_name, str(error) or type(error).__name__,
            )  # fmt: skip
            return None

    @property
    def progress(self) -> Any:
        """What `update_progress` stored last: a number or what the serializer gives back; 0 at first."""
        raw = self._fields.get("progress")
        if not raw:
            return 0
        try:
            return self._payload.load_progress(raw)
        except ValueError:
            return number(raw)

    # -- options -----------------------------------------------------------------------------------------

    @property
    def opts(self) -> JobOptions:
        """The options that the job was added with, as far as they are known; durations in seconds."""
        return from_wire(self.wire_opts)

    @property
    def wire_opts(self) -> Mapping[str, Any]:
        """The options as stored: camelCase names, milliseconds, and whatever else a producer wrote."""
        if self._opts is None:
            self._opts = json_object(self._raw_opts)
        return self._opts

    @property
    def max_attempts(self) -> int:
        """How often the job may run in all; 0 and 1 both mean once."""
        return number(self.wire_opts.get("attempts"))

    # -- times, as aware UTC datetimes -------------------------------------------------------------------

    @property
    def timestamp(self) -> datetime | None:
        """When the job was added."""
        return instant(self._timestamp)

    @property
    def processed_on(self) -> datetime | None:
        """When the latest attempt started; None before the first one."""
        # A failure has put its own time there; the start is kept beside it, for as long as it is this failure's.
        kept: bytes = self._fields.get("x-py:started", b"")
        failure, _, start = kept.partition(b":")
        return instant(start if start and failure == self._processed_on else self._processed_on)

    @property
    def finished_on(self) -> datetime | None:
        """When the job completed or failed for good; None until then."""
        return instant(self._fields.get("finishedOn"))

    @property
    def expire_at(self) -> datetime | None:
        """When the job expires unless it has started; None without a `ttl`."""
        stored = self._fields.get("expireAt")
        ttl_ms = self.wire_opts.get("ttl")
        # Just added, or running: not all of the hash was read.
        if stored is None and "id" not in self._fields and isinstance(ttl_ms, int) and ttl_ms > 0:
            return instant(number(self._timestamp) + ttl_ms)
        return instant(stored)

    # -- the rest ----------------------------------------------------------------------------------------

    @property
    def queue_name(self) -> str:
        """The name of the job's queue."""
        return self._queue_key[self._queue_key.index("{") + 1 : self._queue_key.rindex("}")]

    @property
    def abort_signal(self) -> AbortSignal:
        """Tells a processor that the job should stop."""
        if self._abort_signal is None:
            self._abort_signal = AbortSignal()
        return self._abort_signal

    def discard(self) -> None:
        """If this attempt fails, let it be the last one, whatever attempts remain."""
        self.discarded = True

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.name!r} of queue {self.queue_name!r}>"
