"""The options of one job: their types, their checks, and their form on the wire.

The wire form has two halves. `opts` is a JSON object with the camelCase names of the Node library and
milliseconds, holding what the caller gave; some options are repeated as fields of the job hash,
which the server reads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple, TypeAlias, TypedDict, cast, get_args

import orjson

from glidemq.errors import ValidationError
from glidemq.options.backoff import Backoff, backoff_from_wire, backoff_to_wire
from glidemq.options.chunk_limits import stream_limit, stream_ttl_ms
from glidemq.options.deduplication import (
    Deduplication,
    DeduplicationOnWire,
    deduplication_from_wire,
    deduplication_on_wire,
    deduplication_to_wire,
)
from glidemq.options.durations import Duration, duration_ms
from glidemq.options.estimates import (
    COST_MEMBER,
    TOKENS_MEMBER,
    CostEstimate,
    TokenEstimate,
    cost_estimate,
    gathered_tokens,
    spread_tokens,
    token_estimate,
)
from glidemq.options.fallbacks import Fallback, fallbacks_from_wire, fallbacks_to_wire
from glidemq.options.names import check_job_id
from glidemq.options.nested import count, seconds, unknown_name
from glidemq.options.ordering import (
    GroupOnWire,
    Ordering,
    cost_from_wire,
    cost_to_wire,
    group_on_wire,
    millitokens,
    ordering_from_wire,
    ordering_to_wire,
)
from glidemq.options.parents import (
    ParentJob,
    parent_from_wire,
    parent_to_wire,
    parents_from_wire,
    parents_to_wire,
)
from glidemq.options.retention import Retention, retention_from_wire, retention_to_wire

MAX_PRIORITY = 2048
OnFailure: TypeAlias = Literal["fail_parent", "ignore", "remove", "continue"]
"""What a parent does when a child of it fails for good."""
MIN_LOCK_MS, MAX_LOCK_MS = 1_000, 86_400_000


class PlainJobOptions(TypedDict, total=False):
    """The options of `JobOptions` with which an add always adds a job: all but `job_id` and `deduplication`."""

    on_failure: OnFailure | None
    parent: ParentJob | Mapping[str, str] | None
    parents: Sequence[ParentJob | Mapping[str, str]] | None
    delay: Duration | None
    priority: int | None
    lifo: bool | None
    ordering: Ordering | Mapping[str, Any] | None
    cost: float | None
    ttl: Duration | None
    attempts: int | None
    backoff: Backoff | Mapping[str, Any] | None
    estimated_tokens: TokenEstimate | None
    estimated_cost: CostEstimate | None
    timeout: Duration | None
    lock_duration: Duration | None
    fallbacks: Sequence[Fallback | Mapping[str, Any]] | None
    stream_limit: int | None
    stream_ttl: Duration | None
    remove_on_complete: bool | int | Retention | Mapping[str, Any] | None
    remove_on_fail: bool | int | Retention | Mapping[str, Any] | None


class JobOptions(PlainJobOptions, total=False):
    """Options of `Queue.add`; all optional, None meaning "not given". Source: features page, section 4.

    job_id: an id of one's own, unique in the queue; adding it twice adds nothing the second time.
    on_failure: what this job's parent does if it fails for good, by whatever way. "fail_parent" (default): it fails as
        well; "ignore": it counts this child as done; "remove": it forgets this child; "continue": it runs at once.
    parent: a job that is to wait for this one, for example the running one that adds it; a `ParentJob`, or a mapping
        with its fields. parents: several of them, instead.
    deduplication: which earlier adds this one repeats, and what then; a `Deduplication`, or a mapping with its fields.
        It is checked before `job_id`.
    delay: seconds or timedelta before the job may run.
    priority: 0 to 2048. 1 is the most urgent, 2048 the least, 0 (default) comes after all of them.
    lifo: run the newest first, ahead of the jobs without priority.
    ordering: the group whose jobs run in the order of their adds; an `Ordering`, or a mapping with its fields.
    cost: what the job takes out of its group's token bucket; 1 if not given.
    ttl: seconds or timedelta after the adding within which the job must start, or it fails with "expired".
    attempts: how often to run the job in all until it succeeds; 0 and 1 both mean once.
    backoff: the wait between attempts; a `Backoff`, or a mapping with its fields.
    estimated_tokens: how many tokens an attempt will use at most, for token limiters and the flow's budget: in all, or
        as a mapping of categories to numbers, where what is not named is not used.
    estimated_cost: likewise what it will cost, in the budget's unit.
    timeout: seconds or timedelta of processing after which an attempt fails with "Job timeout exceeded".
    lock_duration: 1 to 86400 seconds without a sign of life before the job counts as stalled.
    fallbacks: what the attempts after the first turn to, one after the other: `Fallback`s, or mappings with its
        fields; see `Job.current_fallback`. Without `attempts`, each gets one: there is one attempt more than fallbacks.
    stream_limit: how many chunks of `job.stream` are kept, the newest ones; 100,000 if not given.
    stream_ttl: seconds or timedelta for which they are kept after the job's end; a day if not given.
    remove_on_complete, remove_on_fail: True removes the job when it ends, a number keeps that many, a
        `Retention` (or a mapping with its fields) keeps by age and number, False (default) keeps all.
    """

    job_id: str | None
    deduplication: Deduplication | Mapping[str, Any] | None


class WireOptions(NamedTuple):
    """Checked options: the `opts` JSON and what is repeated in the job hash. 0 means "none" throughout.

    cost: in thousandths of tokens. has_several_parents: `parents` was given, so that they stand in a set.
    """

    json: bytes
    delay_ms: int
    priority: int
    lifo: bool
    ttl_ms: int
    attempts: int
    job_id: str | None
    group: GroupOnWire | None = None
    cost: int = 0
    deduplication: DeduplicationOnWire | None = None
    parents: tuple[ParentJob, ...] = ()
    has_several_parents: bool = False


NO_OPTIONS = WireOptions(b"{}", 0, 0, False, 0, 0, None)


def to_wire(options: Mapping[str, object]) -> WireOptions:
    """Check options and bring them into their wire form.

    Raises:
        ValidationError: an unknown option (with a suggestion), or a value of the wrong type or out of range.
    """
    if not options:
        return NO_OPTIONS
    if not isinstance(options, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] - users err
        raise ValidationError(f"job options must be a mapping, not {type(options).__name__}")
    wire: dict[str, Any] = {}
    for name, value in options.items():
        rule = _RULES.get(name)
        if rule is None:
            raise unknown_name(name, list(_RULES), "job option")
        if value is not None:
            wire[rule.wire_name] = rule.to_wire(value)
    if wire.get("fallbacks") and "attempts" not in wire:
        wire["attempts"] = len(wire["fallbacks"]) + 1
    spread_tokens(wire)
    ordering, cost = wire.get("ordering"), millitokens(wire.get("cost", 0))
    deduplication = wire.get("deduplication")
    if ordering is not None and wire.get("lifo"):
        raise ValidationError("lifo and ordering.key cannot be used together")
    if "parent" in wire and "parents" in wire:
        raise ValidationError("parent and parents cannot be used together")
    parents = parents_from_wire(wire.get("parents") or [wire["parent"]] if wire.keys() & _PARENTAGE else [])
    return WireOptions(
        orjson.dumps(wire),
        wire.get("delay", 0),
        wire.get("priority", 0),
        wire.get("lifo", False),
        wire.get("ttl", 0),
        wire.get("attempts", 0),
        wire.get("jobId"),
        group_on_wire(ordering, cost) if ordering is not None else None,
        cost,
        deduplication_on_wire(deduplication) if deduplication is not None else None,
        tuple(parents),
        "parents" in wire,
    )


def from_wire(opts: Mapping[str, Any]) -> JobOptions:
    """The options of a stored job under their Python names, durations in seconds.

    Tolerant, since others write jobs too: members that this version does not know, or whose value it cannot
    read, are left out here and remain visible in the wire form.
    """
    options: dict[str, Any] = {}
    for name, rule in _RULES.items():
        value = opts.get(rule.wire_name)
        if value is None:
            continue
        try:
            options[name] = rule.from_wire(value)
        except (TypeError, ValueError, OverflowError, AttributeError, KeyError):
            continue
    if "estimated_tokens" in options:
        options["estimated_tokens"] = gathered_tokens(opts, options["estimated_tokens"])
    return cast(JobOptions, options)


def delay_ms(value: object) -> int:
    """Whole milliseconds of a delay, else a ValidationError."""
    return duration_ms(
        value, "delay", sentence="Delay must be >= 0: a finite number of seconds or a timedelta"
    )


def check_priority(value: object) -> int:
    """`value` if it is an integer from 0 to 2048, else a ValidationError."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValidationError("priority must be an integer between 0 and 2048")
    if value < 0:
        raise ValidationError("Priority must be >= 0")
    if value > MAX_PRIORITY:
        raise ValidationError("Priority must be <= 2048")
    return value


def _on_failure(value: object) -> OnFailure:
    if value not in get_args(OnFailure):
        raise ValidationError(
            f'on_failure must be "fail_parent", "ignore", "remove" or "continue", not {value!r:.40}'
        )
    return cast(OnFailure, value)


def _lifo(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValidationError("lifo must be True or False")
    return value


def _ttl(value: object) -> int:
    return duration_ms(value, "ttl", sentence="ttl must be a non-negative finite number")


def _attempts(value: object) -> int:
    return count(value, "attempts must be a non-negative integer")


def _timeout(value: object) -> int:
    return duration_ms(value, "timeout", positive=True)


def lock_duration_ms(value: object) -> int:
    """Whole milliseconds of a lock duration of 1 to 86400 seconds, else a ValidationError."""
    sentence = "lock_duration must be a finite number between 1 and 86400"
    milliseconds = duration_ms(value, "lock_duration", sentence=sentence, bare_limit=True)
    if not MIN_LOCK_MS <= milliseconds <= MAX_LOCK_MS:
        raise ValidationError(sentence)
    return milliseconds


_PARENTAGE = frozenset({"parent", "parents"})


class _Rule(NamedTuple):
    wire_name: str
    to_wire: Callable[[object], Any]
    from_wire: Callable[[Any], Any]


_RULES: dict[str, _Rule] = {
    "job_id": _Rule("jobId", check_job_id, str),
    "on_failure": _Rule("x-py:onFailure", _on_failure, _on_failure),
    "parent": _Rule("parent", parent_to_wire, parent_from_wire),
    "parents": _Rule("parents", parents_to_wire, parents_from_wire),
    "deduplication": _Rule("deduplication", deduplication_to_wire, deduplication_from_wire),
    "delay": _Rule("delay", delay_ms, seconds),
    "priority": _Rule("priority", check_priority, int),
    "lifo": _Rule("lifo", _lifo, bool),
    "ordering": _Rule("ordering", ordering_to_wire, ordering_from_wire),
    "cost": _Rule("cost", cost_to_wire, cost_from_wire),
    "ttl": _Rule("ttl", _ttl, seconds),
    "attempts": _Rule("attempts", _attempts, int),
    "backoff": _Rule("backoff", backoff_to_wire, backoff_from_wire),
    "estimated_tokens": _Rule(TOKENS_MEMBER, token_estimate, int),
    "estimated_cost": _Rule(COST_MEMBER, cost_estimate, cost_estimate),
    "timeout": _Rule("timeout", _timeout, seconds),
    "lock_duration": _Rule("lockDuration", lock_duration_ms, seconds),
    "fallbacks": _Rule("fallbacks", fallbacks_to_wire, fallbacks_from_wire),
    "stream_limit": _Rule("x-py:streamLimit", stream_limit, int),
    "stream_ttl": _Rule("x-py:streamTtl", stream_ttl_ms, seconds),
    "remove_on_complete": _Rule(
        "removeOnComplete", partial(retention_to_wire, name="remove_on_complete"), retention_from_wire
    ),
    "remove_on_fail": _Rule(
        "removeOnFail", partial(retention_to_wire, name="remove_on_fail"), retention_from_wire
    ),
}
