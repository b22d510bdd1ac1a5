"""What jobs that call models report and put out, as far as `Job` and `SyncJob` have it in common."""

from __future__ import annotations

from typing import NoReturn

from glidemq.commands.report_tokens import ReportTokensCommand
from glidemq.commands.stream_append import LEASE_LOST
from glidemq.errors import LeaseLostError
from glidemq.job.chunks import ChunkSource
from glidemq.job.detours import DetourSteps
from glidemq.job.record import In, Out
from glidemq.job.stepping import Steps
from glidemq.job.stored_values import number
from glidemq.job.usage_steps import report_usage_steps, tokens_of
from glidemq.options import duration_ms
from glidemq.options.fallbacks import Fallback, fallback_at
from glidemq.options.token_limiter import check_reported
from glidemq.options.usage import JobUsage, UsageReport, usage_from_fields, usage_from_json


class ModelCalls(DetourSteps[In, Out]):
    """A job's usage, stream and fallbacks, without the waiting."""

    __slots__ = ()

    @property
    def usage(self) -> JobUsage | None:
        """What the job's calls to models have used, all attempts together; None when nothing was reported.

        Inside a processor: None until it reports, then the sum; `refresh()` shows what earlier attempts have used.
        """
        if self._usage_json is not None:
            return usage_from_json(self._usage_json)
        return usage_from_fields(self._fields)

    @property
    def fallback_index(self) -> int:
        """How many entries of the chain of fallbacks the job has moved on: 0 at first, and without a chain."""
        return number(self._fields.get("fallbackIndex"))

    @property
    def current_fallback(self) -> Fallback | None:
        """What this attempt is to use instead; None for the first one, and without a chain.

        Every charged failure moves on to the next entry that follows its error, crashes and rate limits do not. The
        last entry stays when there are more attempts than entries. Source: features page, section 18.
        """
        return fallback_at(self.wire_opts.get("fallbacks"), self.fallback_index)

    def _tokens_steps(self, tokens: int) -> Steps[None]:
        check_reported(tokens)
        self._tokens_reported = tokens  # whatever becomes of the call: they are used
        found: bool = yield ReportTokensCommand(self._queue_key, job_id=self.id, tokens=tokens)
        if not found:
            raise self._gone()

    def _report_usage_steps(self, report: UsageReport) -> Steps[None]:
        self._tokens_of_usage = tokens_of(report)  # whatever becomes of the call: they are used
        raw = yield from report_usage_steps(self._queue_key, self.id, self.token, report)
        self._usage_json = raw

    def _chunk_source(self) -> ChunkSource:
        """What makes the chunks of this run; those of one that started again get the next attempt's number."""
        fields = self._fields
        attempt = self.runs_over
        if fields.get("state") != b"failed":
            attempt += 1
        options = self.opts
        ttl = options.get("stream_ttl")
        ttl_ms = None if ttl is None else duration_ms(ttl, "stream_ttl")
        source = ChunkSource(self.id, self.token, attempt, options.get("stream_limit"), ttl_ms)
        self._chunks = source
        return source

    def _chunk_refused(self, code: str) -> NoReturn:
        """Raise what the row code of a chunk stands for."""
        if code == LEASE_LOST:
            raise LeaseLostError(f"job {self.id} of queue {self.queue_name!r} was taken from this run")
        raise self._gone()
