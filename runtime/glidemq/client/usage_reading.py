"""Reading what jobs have used: of a flow, and of queues over time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final, cast

from glidemq.client.usage_totals import UsageSummary, UsageTally, UsageTotals
from glidemq.clock import wall_datetime, wall_ms
from glidemq.commands.get_flow_usage import FlowRow, GetFlowUsageCommand
from glidemq.commands.get_usage_buckets import MINUTE_MS, GetUsageBucketsCommand
from glidemq.commands.keys import DEFAULT_PREFIX, QueueKeys, usage_queues_key
from glidemq.commands.list_usage_queues import ListUsageQueuesCommand
from glidemq.config import ConnectionOptions, resolve_connection
from glidemq.connection import CommandConnection, Connection
from glidemq.errors import ValidationError
from glidemq.options import Duration, check_prefix, check_queue_name, duration_ms
from glidemq.options.usage import usage_from_json

MAX_BUCKET_READS: Final = 100_000
KEPT_MS: Final = 30 * 86_400_000
# The end of the year 9999, the last that a datetime can hold.
MAX_EPOCH_S: Final = 253_402_300_800
# Jobs looked at per call; a call answers fewer when they have many children.
JOBS_PER_CALL: Final = 200


class UsageSpan:
    """From when to when usage is summed up, checked; epoch milliseconds."""

    def __init__(
        self,
        window: Duration,
        start_time: datetime | float | None,
        end_time: datetime | float | None,
    ) -> None:
        sentence = "window must be a finite positive number"
        window_ms = duration_ms(window, "window", positive=True, sentence=sentence)
        now_ms = wall_ms()
        self.end_ms = now_ms if end_time is None else _instant_ms(end_time, "end_time")
        self.start_ms = (
            max(self.end_ms - window_ms, 0) if start_time is None else _instant_ms(start_time, "start_time")
        )
        if self.start_ms > self.end_ms:
            raise ValidationError("start_time must be less than or equal to end_time")
        # Older buckets are gone, and there are none in the future.
        self.first_ms = max(self.start_ms, now_ms - KEPT_MS) // MINUTE_MS * MINUTE_MS
        self.last_ms = min(self.end_ms, now_ms + MINUTE_MS) // MINUTE_MS * MINUTE_MS

    def check_size(self, queues: int) -> None:
        """Raise ValidationError when summing up so many queues would take too long."""
        reads = max((self.last_ms - self.first_ms) // MINUTE_MS + 1, 0) * queues
        if reads > MAX_BUCKET_READS:
            raise ValidationError(
                f"usage summary request exceeds maximum bucket reads ({reads} > {MAX_BUCKET_READS});"
                " reduce queues or window"
            )


def checked_queues(queues: object) -> list[str]:
    """The names of queues to be summed up; ValidationError unless they are some."""
    if isinstance(queues, str) or not isinstance(queues, Iterable):
        raise ValidationError(f"queues must be a sequence of names, not {queues!r:.40}")
    return [check_queue_name(name) for name in cast("Iterable[object]", queues)]


def _instant_ms(value: object, name: str) -> int:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValidationError(f"{name} must be an aware datetime, or epoch seconds")
        value = value.timestamp()
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < MAX_EPOCH_S:
        raise ValidationError(f"{name} must be a finite non-negative number")
    return round(value * 1000)


async def summarize(
    connection: Connection, prefix: str, queues: Sequence[str], span: UsageSpan
) -> UsageSummary:
    """What the jobs of these queues have used in the span."""
    names = list(dict.fromkeys(queues))
    span.check_size(len(names))
    all_queues = UsageTally()
    per_queue: dict[str, UsageTotals] = {}
    for name in names:
        tally = UsageTally()
        command: GetUsageBucketsCommand | None = GetUsageBucketsCommand(
            QueueKeys(prefix, name).meta, first_ms=span.first_ms, last_ms=span.last_ms
        )
        while command is not None and span.first_ms <= span.last_ms:
            page = await connection.execute(command)
            tally.add_buckets(page.fields)
            command = page.following
        per_queue[name] = tally.totals()
        all_queues.add(per_queue[name])
    totals = all_queues.totals()
    return UsageSummary(
        tokens=totals.tokens,
        total_tokens=totals.total_tokens,
        costs=totals.costs,
        total_cost=totals.total_cost,
        cost_unit=totals.cost_unit,
        job_count=totals.job_count,
        models=totals.models,
        start_time=wall_datetime(span.start_ms),
        end_time=wall_datetime(span.end_ms),
        queues=names,
        per_queue=per_queue,
    )


async def get_usage_summary(
    queues: Sequence[str] | None = None,
    *,
    connection: str | ConnectionOptions | None = None,
    client: Connection | None = None,
    prefix: str = DEFAULT_PREFIX,
    window: Duration = 3600,
    start_time: datetime | float | None = None,
    end_time: datetime | float | None = None,
) -> UsageSummary:
    """What the jobs of several queues have used, by the minutes of their reports; kept for 30 days.

    queues: names; None: all in which usage was ever reported.
    connection, client: as for `Queue`; one of them must be given.
    window: seconds or timedelta before `end_time`, unless `start_time` is given.
    start_time, end_time: aware datetime or epoch seconds; None: now.

    Raises:
        ValidationError: a bad argument, or more than 100,000 minutes of queues to be read. ConnectionError.
    Source: features page, section 14.
    """
    if client is None and connection is None:
        raise ValidationError("get_usage_summary requires either `client` or `connection`")
    if client is not None and connection is not None:
        raise ValidationError("Provide either `connection` or `client`, not both.")
    check_prefix(prefix)
    span = UsageSpan(window, start_time, end_time)
    names = None if queues is None else checked_queues(queues)
    if client is not None:
        return await _summarize(client, prefix, names, span)
    async with CommandConnection(resolve_connection(connection)) as owned:
        return await _summarize(owned, prefix, names, span)


async def _summarize(
    connection: Connection, prefix: str, names: Sequence[str] | None, span: UsageSpan
) -> UsageSummary:
    if names is None:
        found: set[str] = set()
        command: ListUsageQueuesCommand | None = ListUsageQueuesCommand(usage_queues_key(prefix))
        while command is not None:
            page = await connection.execute(command)
            found.update(page.queues)
            command = page.following
        names = sorted(found)
    return await summarize(connection, prefix, names, span)


async def flow_usage(connection: Connection, keys: QueueKeys, job_id: str) -> UsageTotals:
    """What a job and all below it have used, whichever queues they are in; each job counts once."""
    tally = UsageTally()
    seen = {f"{keys.base}:{job_id}"}
    waiting: dict[str, list[FlowRow]] = {keys.base: [FlowRow(job_id)]}
    while waiting:
        base, rows = next(iter(waiting.items()))
        asked = rows[:JOBS_PER_CALL]
        answers = await connection.execute(GetFlowUsageCommand(f"{base}:meta", rows=asked))
        del rows[: len(answers)]
        for answer in answers:
            if answer.usage is not None:
                tally.add_job(usage_from_json(answer.usage), list(answer.models))
            if answer.following is not None:
                rows.append(answer.following)
            for child in answer.children:
                child_base, _, child_id = child.rpartition(":")
                if child not in seen and child_base.endswith("}"):
                    seen.add(child)
                    waiting.setdefault(child_base, []).append(FlowRow(child_id))
        if not rows:
            del waiting[base]
    return tally.totals()
