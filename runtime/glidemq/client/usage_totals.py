"""What several jobs have used together: of a flow, of a queue, of several queues."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from glidemq.options.usage import JobUsage


@dataclass(frozen=True, slots=True)
class UsageTotals:
    """What jobs have used together. Source: features page, section 14.

    tokens, costs: by category. cost_unit: the one reported last, or the last one found; amounts of different units
    are not told apart.
    job_count: how many jobs have reported.
    models: how many of them have used each model; a job that used two counts for both.
    """

    tokens: Mapping[str, float]
    total_tokens: float
    costs: Mapping[str, float]
    total_cost: float
    cost_unit: str | None
    job_count: int
    models: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class UsageSummary(UsageTotals):
    """What the jobs of some queues have used in a span of time.

    start_time, end_time: the span asked for; whole minutes are counted, that of `end_time` included.
    bucket_size: seconds.
    """

    start_time: datetime
    end_time: datetime
    queues: list[str]
    per_queue: Mapping[str, UsageTotals]
    bucket_size: float = 60.0


class UsageTally:
    """Adds usage up."""

    def __init__(self) -> None:
        self._tokens: dict[str, float] = {}
        self._costs: dict[str, float] = {}
        self._models: dict[str, int] = {}
        self._total_tokens: float = 0
        self._total_cost: float = 0
        self._cost_unit: str | None = None
        self._job_count = 0

    def add_job(self, usage: JobUsage, models: list[str]) -> None:
        """Add what one job has used, and the models that it has used."""
        self._job_count += 1
        self._total_tokens += usage.total_tokens or 0
        self._total_cost += usage.total_cost or 0
        self._cost_unit = usage.cost_unit or self._cost_unit
        _add_all(self._tokens, usage.tokens)
        _add_all(self._costs, usage.costs)
        for model in models:
            self._models[model] = self._models.get(model, 0) + 1

    def add_buckets(self, fields: Mapping[str, bytes]) -> None:
        """Add the summed fields of a queue's buckets; those of other names are left out."""
        for field, raw in fields.items():
            kind, colon, name = field.partition(":")
            if field == "costUnit":
                self._cost_unit = raw.decode("utf-8", "replace")
                continue
            amount = _number(raw)
            if field == "jobCount":
                self._job_count += int(amount)
            elif field == "totalTokens":
                self._total_tokens += amount
            elif field == "totalCost":
                self._total_cost += amount
            elif colon and kind == "tokens":
                _add_all(self._tokens, {name: amount})
            elif colon and kind == "costs":
                _add_all(self._costs, {name: amount})
            elif colon and kind == "models" and amount > 0:  # a report that was replaced leaves a 0
                self._models[name] = self._models.get(name, 0) + int(amount)

    def add(self, totals: UsageTotals) -> None:
        """Add what another tally has come to."""
        self._job_count += totals.job_count
        self._total_tokens += totals.total_tokens
        self._total_cost += totals.total_cost
        self._cost_unit = totals.cost_unit or self._cost_unit
        _add_all(self._tokens, totals.tokens)
        _add_all(self._costs, totals.costs)
        for model, count in totals.models.items():
            self._models[model] = self._models.get(model, 0) + count

    def totals(self) -> UsageTotals:
        """What has been added so far; floating-point dust is rounded off."""
        return UsageTotals(
            tokens=_clean(self._tokens),
            total_tokens=_rounded(self._total_tokens),
            costs=_clean(self._costs),
            total_cost=_rounded(self._total_cost),
            cost_unit=self._cost_unit,
            job_count=self._job_count,
            models=dict(self._models),
        )


# Sums of decimal fractions: beyond this only the error of their binary form is left.
_DIGITS = 12


def _rounded(amount: float) -> float:
    return round(amount, _DIGITS) if isinstance(amount, float) else amount


def _clean(amounts: Mapping[str, float]) -> dict[str, float]:
    """Without the categories that replaced reports have left at 0."""
    rounded = {name: _rounded(amount) for name, amount in amounts.items()}
    return {name: amount for name, amount in rounded.items() if amount}


def _add_all(sums: dict[str, float], amounts: Mapping[str, float]) -> None:
    for name, amount in amounts.items():
        sums[name] = sums.get(name, 0) + amount


def _number(raw: bytes) -> float:
    try:
        number = float(raw)
    except ValueError:
        return 0
    return int(number) if number.is_integer() else number
