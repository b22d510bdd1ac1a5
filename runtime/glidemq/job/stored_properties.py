"""What the fields of a job's hash say that have no attribute of their own: read when somebody asks."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, cast

from glidemq.job.signals import Signal, signals_from
from glidemq.job.stored_values import number


class StoredProperties:
    """Properties over raw hash fields and options. `JobRecord` holds what they read."""

    __slots__ = ()

    _fields: Mapping[str, Any]  # the hash fields that have no place of their own, raw

    @property
    @abstractmethod
    def wire_opts(self) -> Mapping[str, Any]: ...

    @property
    def failed_reason(self) -> str | None:
        """The message of the latest failure; it stays after a later success."""
        return self._text("failedReason")

    @property
    def signals(self) -> tuple[Signal, ...]:
        """The signals that have let the job go on so far, oldest first; see `Queue.signal`."""
        return signals_from(self._fields.get("signals"))

    @property
    def stalled_count(self) -> int:
        """How often the job was taken from a worker that gave no sign of life."""
        return number(self._fields.get("stalledCount"))

    @property
    def delay(self) -> float:
        """Seconds that the job had to wait when it was last delayed; 0: not at all."""
        return number(self._fields.get("delay", self.wire_opts.get("delay"))) / 1000

    @property
    def ordering_key(self) -> str | None:
        """The group that the job belongs to."""
        ordering = self.wire_opts.get("ordering")
        key = cast("dict[str, Any]", ordering).get("key") if isinstance(ordering, dict) else None
        return self._text("groupKey") or (key if isinstance(key, str) else None)

    @property
    def cost(self) -> float | None:
        """What the job takes out of its group's token bucket; None: nothing was said, it takes 1."""
        stored = number(self._fields.get("cost"))
        given = self.wire_opts.get("cost")
        return stored / 1000 if stored else float(given) if isinstance(given, (int, float)) else None

    @property
    def budget_key(self) -> str | None:
        """Where the budget of the job's flow stands; the id of the flow's root is behind the last colon."""
        return self._text("budgetKey")

    @property
    def scheduler_name(self) -> str | None:
        """The scheduler that made the job, if it waits for its end."""
        return self._text("schedulerName")

    @property
    def parent_id(self) -> str | None:
        """The id of the parent job, in queue `parent_queue`."""
        return self._text("parentId")

    @property
    def parent_queue(self) -> str | None:
        """The name of the parent job's queue."""
        return self._text("parentQueue")

    def _text(self, field: str) -> str | None:
        raw = self._fields.get(field)
        return raw.decode("utf-8", "replace") if raw else None
