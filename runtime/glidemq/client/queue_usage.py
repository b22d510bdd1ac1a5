"""What a queue's jobs have used."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from glidemq.client.queue_handle import QueueHandle
from glidemq.client.usage_reading import UsageSpan, checked_queues, flow_usage, summarize
from glidemq.client.usage_totals import UsageSummary, UsageTotals
from glidemq.options import Duration, check_job_id


class QueueUsage(QueueHandle):
    """The part of `Queue` that sums up usage; every method raises ConnectionError and ClosedError."""

    async def get_flow_usage(self, parent_id: str) -> UsageTotals:
        """What a job and all its descendants have used, in whichever queues they are; zeros if there is none.

        The tree is read in bounded calls; what jobs report meanwhile may be in or not. Jobs that were removed, as by
        `remove_on_complete`, are no longer in it; a budget and `get_usage_summary` go on counting what they have used.
        """
        self._check_open()
        return await flow_usage(self._connection, self.keys, check_job_id(parent_id))

    async def get_usage_summary(
        self,
        *,
        queues: Sequence[str] | None = None,
        window: Duration = 3600,
        start_time: datetime | float | None = None,
        end_time: datetime | float | None = None,
    ) -> UsageSummary:
        """What the queue's jobs have used, by the minutes of their reports; kept for 30 days.

        queues: names of the queues to sum up instead, of the same prefix.
        window: seconds or timedelta before `end_time`, unless `start_time` is given.
        start_time, end_time: aware datetime or epoch seconds; None: now.

        Raises:
            ValidationError: a bad argument, or more than 100,000 minutes of queues to be read.
        """
        self._check_open()
        names = [self.name] if queues is None else checked_queues(queues)
        span = UsageSpan(window, start_time, end_time)
        return await summarize(self._connection, self.keys.prefix, names, span)
