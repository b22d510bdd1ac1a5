"""One cycle of a queue: record completions, start what comes next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from glidemq.commands.answer_budgets import RefusedByBudget, refusals
from glidemq.commands.command import Command, pack, unpack
from glidemq.commands.fragments import packed_call
from glidemq.commands.rate_limit import RateLimitOnWire, limiter_member
from glidemq.commands.status import expect_ok
from glidemq.commands.token_allowance import TokenAllowance, TokensDealt, tokens_dealt, tokens_member
from glidemq.options.estimates import RunEstimate

# What happens to a finished job: False keeps it, True removes it at once, a number keeps that many finished
# jobs, a pair keeps (seconds or False, number or False).
Retain = bool | int | tuple[int | bool, int | bool]

# Row codes, shared by all outcome calls.
ACCEPTED: Final = 1
ALREADY: Final = 2  # this activation's outcome is recorded
GONE: Final = 3  # the job was removed: as good as accepted
LEASE_LOST: Final = 4  # the lease is somebody else's; nothing changed

# Activation flags.
CONSTRAINED: Final = 1  # a group or a cost limits when it may start
PROMPT: Final = 2  # a parent or a scheduler waits for the outcome
SUSPECT: Final = 4  # ran in a process that died: runs alone


class CompletionRow:
    """One finished job, as an actor packs it and the gateway passes it on unread."""

    @staticmethod
    def pack(
        job_id: bytes, token: bytes, processed_on: int, entry_id: bytes, return_value: bytes, retain: Retain
    ) -> bytes:
        """The row's msgpack. `return_value` is serialized text; `entry_id` is empty for a list job."""
        return pack((job_id, token, processed_on, entry_id, return_value, retain))


class Activation(NamedTuple):
    """One started job: its packed record for the processor, and what a gateway must know of it."""

    blob: bytes
    id: bytes
    token: bytes
    entry_id: bytes  # empty when the job came from a list
    name: bytes
    opts: bytes
    processed_on: int
    flags: int


class ActivatedJob(NamedTuple):
    """A started job's record, out of an activation's blob. Texts are raw bytes, times are epoch ms.

    `extras` holds the other fields of the job's hash that are present, by wire name: progress, delay,
    parentId, parentQueue, parentIds, parentQueues, groupKey, orderingSeq, cost, schedulerName, signals,
    fallbackIndex, budgetKey, stalledCount, failedReason, lifo and x-py:crashes.
    """

    id: bytes
    name: bytes
    data: bytes
    opts: bytes
    timestamp: int
    attempts_made: int
    priority: int
    processed_on: int
    token: bytes
    entry_id: bytes
    extras: dict[bytes, bytes]

    @classmethod
    def unpack(cls, blob: bytes) -> ActivatedJob:
        """Decode a blob."""
        return cls._make(unpack(blob))


class StepResult(NamedTuple):
    """What one step did.

    outcomes: one code per completion row; 6 is a failure, since the job was revoked. next_due_ms: epoch ms of
    the next promotion or, when blocked by a rate limit, of the end of its window; -1 for none, not after
    `now_ms` when delayed jobs are due already. more: another step would find work. blocked: there is work that
    a limit keeps from starting, so asking again at once is useless. posted: another queue must hear of something that
    happened in this call. tokens: what became of the allowance, if one was given.
    """

    now_ms: int
    outcomes: list[int]
    activations: list[Activation]
    paused: bool
    next_due_ms: int
    more: bool
    blocked: bool
    expired: int
    quarantined: int
    posted: bool = False
    tokens: TokensDealt | None = None
    refused: Sequence[RefusedByBudget] = ()


class StepCommand(Command[StepResult]):
    """Completes the jobs of `complete` and starts up to `slots` jobs, and `ahead` more that no limit
    applies to.

    run: unique per call; the n-th activation gets the token `<run>.<n>`. claimed: (entry id, job id) of
    entries that the blocking reader got. rung: ids of the doorbell's entries that it got. limiter: the
    worker's own rate limit; if the queue has one too, the stricter counts. tokens: what the started jobs may use
    of a window's tokens. estimate: what a job that states nothing is taken to use at most of its flow's budget.
    A call that starts nothing may be repeated: each completion counts once, by its token.
    """

    function = "gmq_step"

    __slots__ = (
        "ahead", "cell", "claimed", "complete", "consumer", "estimate", "events", "limiter", "max_bytes", "metrics",
        "replayable", "run", "rung", "slots", "tokens",
    )  # fmt: skip

    def __init__(
        self,
        queue_key: str,
        *,
        consumer: str,
        cell: str,
        run: str,
        complete: Sequence[bytes],
        slots: int,
        ahead: int,
        max_bytes: int,
        claimed: Sequence[tuple[bytes, bytes]] = (),
        rung: Sequence[bytes] = (),
        limiter: RateLimitOnWire | None = None,
        tokens: TokenAllowance | None = None,
        estimate: RunEstimate | None = None,
        events: bool = True,
        metrics: bool = True,
    ) -> None:
        super().__init__(queue_key)
        self.consumer = consumer
        self.cell = cell
        self.run = run
        self.complete = complete
        self.slots = slots
        self.ahead = ahead
        self.claimed = claimed
        self.rung = rung
        self.limiter = limiter
        self.tokens = tokens
        self.estimate = estimate
        self.events = events
        self.metrics = metrics
        self.max_bytes = max_bytes
        self.replayable = slots + ahead == 0

    def arguments(self) -> bytes:
        return packed_call(
            {
                "consumer": self.consumer,
                "cell": self.cell,
                "run": self.run,
                "slots": self.slots,
                "ahead": self.ahead,
                "claimed": self.claimed,
                "rung": self.rung,
                "limiter": limiter_member(self.limiter),
                "tokens": tokens_member(self.tokens),
                "estimate": self.estimate.member() if self.estimate is not None else False,
                "events": self.events,
                "metrics": self.metrics,
                "max_bytes": self.max_bytes,
            },
            "complete",
            self.complete,
        )

    def parse_reply(self, reply: list[Any]) -> StepResult:
        expect_ok(self.function, reply)
        _, now_ms, outcomes, activations, hints, *tokens = reply
        paused, next_due_ms, more, expired, quarantined, posted, *refused = hints
        return StepResult(
            now_ms,
            outcomes,
            [Activation._make(activation) for activation in activations],
            bool(paused),
            next_due_ms,
            more == 1,
            more == 2,
            expired,
            quarantined,
            bool(posted),
            tokens_dealt(tokens[0] if tokens else None),
            refusals(refused[0] if refused else []),
        )
