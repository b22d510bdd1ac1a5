"""What happens to a queue's jobs, as typed events (wire format, section 4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias

from glidemq.clock import wall_datetime
from glidemq.options.usage import JobUsage, usage_from_json
from glidemq.payload import Payload

EventName: TypeAlias = Literal[
    "active",
    "added",
    "budget-exceeded",
    "cleaned",
    "completed",
    "delay-changed",
    "drained",
    "expired",
    "failed",
    "group-rate-limited",
    "paused",
    "priority-changed",
    "progress",
    "promoted",
    "removed",
    "resumed",
    "retried",
    "retrying",
    "revoked",
    "stalled",
    "suspended",
    "usage",
    "waiting-children",
]


@dataclass(frozen=True, slots=True)
class Event:
    """One entry of a queue's event log.

    name: `completed`, `failed`, `stalled` … Writers of other versions may use names that are not listed here.
    id: the entry's id; reading on from it (`last_event_id`) continues right behind.
    job_id: the job concerned; "0" for `paused` and for `resumed` of a whole queue.
    raw: all fields as they were written, texts.
    """

    name: str
    id: str
    job_id: str
    raw: Mapping[str, str]

    @property
    def timestamp(self) -> datetime:
        """When the server logged it."""
        return wall_datetime(int(self.id.partition("-")[0]))


@dataclass(frozen=True, slots=True)
class AddedEvent(Event):
    """`added`: a job is in the queue."""

    job_name: str


@dataclass(frozen=True, slots=True)
class CompletedEvent(Event):
    """`completed`: a processor returned. `return_value` is its result."""

    return_value: Any


@dataclass(frozen=True, slots=True)
class FailedEvent(Event):
    """`failed`: no attempt is left, or a running job was revoked. Others that are revoked, or expire, have events of
    their own."""

    failed_reason: str


@dataclass(frozen=True, slots=True)
class RetryingEvent(Event):
    """`retrying`: an attempt failed, or a RateLimitError puts the job off; it runs again in `delay` seconds.

    attempts_made: how many have failed so far, this one included; one that was put off has not.
    """

    failed_reason: str
    attempts_made: int
    delay: float


@dataclass(frozen=True, slots=True)
class ProgressEvent(Event):
    """`progress`: what a processor gave to `update_progress`."""

    data: Any


@dataclass(frozen=True, slots=True)
class UsageEvent(Event):
    """`usage`: what the job has used so far, all its attempts together."""

    usage: JobUsage


@dataclass(frozen=True, slots=True)
class PriorityChangedEvent(Event):
    """`priority-changed`: the job's new priority."""

    priority: int


@dataclass(frozen=True, slots=True)
class DelayChangedEvent(Event):
    """`delay-changed`: the job is due in `delay` seconds from the event on."""

    delay: float


@dataclass(frozen=True, slots=True)
class ResumedEvent(Event):
    """`resumed`: a signal of this name has let a suspended job go on; None when it is the queue that goes on."""

    signal: str | None


@dataclass(frozen=True, slots=True)
class GroupRateLimitedEvent(Event):
    """`group-rate-limited`: no job of the group `group_key` starts for `duration` seconds, until `resume_at`.

    job_id: that of the job that has asked for it; empty when it was asked for from outside.
    """

    group_key: str
    duration: float
    resume_at: datetime


@dataclass(frozen=True, slots=True)
class BudgetExceededEvent(Event):
    """`budget-exceeded`: the budget of the job's flow has no room for it.

    flow_id: the id of the flow's root. on_exceeded: what becomes of the job: "fail", it fails for good; or "pause", it
    waits for a day or until the budget is raised. Other jobs of the flow may still fit.
    """

    flow_id: str
    on_exceeded: str


@dataclass(frozen=True, slots=True)
class CountEvent(Event):
    """`drained`, `cleaned` or `retried`: `count` jobs at once; `job_id` is empty."""

    count: int


def parse_event(entry_id: bytes, fields: Mapping[bytes, bytes], payload: Payload) -> Event:
    """The event of a stream entry; `payload` deserializes return values and progress.

    Never raises: an entry whose fields do not suit its name becomes a plain `Event`, whose `raw` shows them.
    """
    raw = {_text(name): _text(value) for name, value in fields.items()}
    name = raw.get("event", "")
    head = (name, entry_id.decode(), raw.get("jobId", ""), raw)
    make = _MAKERS.get(name)
    if make is None:
        return Event(*head)
    try:
        return make(head, fields, payload)
    except (KeyError, ValueError):
        return Event(*head)


_Head: TypeAlias = tuple[str, str, str, Mapping[str, str]]
_Fields: TypeAlias = Mapping[bytes, bytes]


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _added(head: _Head, fields: _Fields, payload: Payload) -> Event:
    return AddedEvent(*head, job_name=_text(fields[b"name"]))


def _completed(head: _Head, fields: _Fields, payload: Payload) -> Event:
    raw = fields.get(b"returnvalue")
    if not raw:
        return CompletedEvent(*head, return_value=None)
    try:
        value = payload.load(raw)
    except Exception as error:  # a serializer of the user's own may raise anything
        raise ValueError(str(error)) from error
    return CompletedEvent(*head, return_value=value)


def _failed(head: _Head, fields: _Fields, payload: Payload) -> Event:
    return FailedEvent(*head, failed_reason=_text(fields.get(b"failedReason", b"")))


def _retrying(head: _Head, fields: _Fields, payload: Payload) -> Event:
    return RetryingEvent(
        *head,
        failed_reason=_text(fields.get(b"failedReason", b"")),
        attempts_made=int(fields[b"attemptsMade"]),
        delay=float(fields.get(b"delay", b"0")) / 1000,
    )


def _progress(head: _Head, fields: _Fields, payload: Payload) -> Event:
    return ProgressEvent(*head, data=payload.load_progress(fields[b"data"]))


def _resumed(head: _Head, fields: _Fields, payload: Payload) -> Event:
    raw = fields.get(b"signal")
    return ResumedEvent(*head, signal=None if raw is None else _text(raw))


def _usage(head: _Head, fields: _Fields, payload: Payload) -> Event:
    return UsageEvent(*head, usage=usage_from_json(fields[b"data"]))


def _priority_changed(head: _Head, fields: _Fields, payload: Payload) -> Event:
    return PriorityChangedEvent(*head, priority=int(fields[b"priority"]))


def _delay_changed(head: _Head, fields: _Fields, payload: Payload) -> Event:
    return DelayChangedEvent(*head, delay=float(fields[b"delay"]) / 1000)


def _group_rate_limited(head: _Head, fields: _Fields, payload: Payload) -> Event:
    return GroupRateLimitedEvent(
        *head,
        group_key=_text(fields[b"groupKey"]),
        duration=float(fields[b"duration"]) / 1000,
        resume_at=wall_datetime(int(fields[b"resumeAt"])),
    )


def _budget_exceeded(head: _Head, fields: _Fields, payload: Payload) -> Event:
    return BudgetExceededEvent(
        *head, flow_id=_text(fields[b"flowId"]), on_exceeded=_text(fields[b"onExceeded"])
    )


def _counted(head: _Head, fields: _Fields, payload: Payload) -> Event:
    name, entry_id, _, raw = head
    return CountEvent(name, entry_id, "", raw, count=int(fields[b"jobId"]))


_MAKERS: Final[dict[str, Callable[[_Head, _Fields, Payload], Event]]] = {
    "added": _added,
    "budget-exceeded": _budget_exceeded,
    "cleaned": _counted,
    "completed": _completed,
    "delay-changed": _delay_changed,
    "drained": _counted,
    "failed": _failed,
    "group-rate-limited": _group_rate_limited,
    "priority-changed": _priority_changed,
    "progress": _progress,
    "resumed": _resumed,
    "retried": _counted,
    "retrying": _retrying,
    "usage": _usage,
}

TYPED_EVENTS: Final = frozenset(_MAKERS)
"""The names whose events have fields of their own."""
