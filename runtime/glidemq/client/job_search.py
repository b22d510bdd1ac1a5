"""Which of the jobs that the server sends are looked for: the part of a search that needs the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from glidemq.commands.job_fields import JobFields
from glidemq.errors import ValidationError
from glidemq.payload import Payload

PAYLOAD_FIELDS: Final = ("data", "returnvalue")
_ABSENT: Final = object()


class JobSearch:
    """Collects the jobs whose data has the wanted members, until there are enough.

    Owns: what was found so far. Raises ValidationError for conditions that cannot be checked.
    """

    def __init__(
        self, payload: Payload, wanted: Mapping[str, Any] | None, limit: int, *, exclude_data: bool
    ) -> None:
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:  # pyright: ignore[reportUnnecessaryIsInstance] - users err
            raise ValidationError("limit must be a positive integer")
        if wanted is not None and not isinstance(wanted, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ValidationError(
                f"data must be a mapping of members to their values, not {type(wanted).__name__}"
            )
        self._payload = payload
        self._wanted = wanted
        self._limit = limit
        self._exclude_data = exclude_data
        self._found: dict[bytes, JobFields] = {}

    @property
    def needs_data(self) -> bool:
        """Whether the server has to send the payloads."""
        return self._wanted is not None or not self._exclude_data

    @property
    def found(self) -> list[JobFields]:
        """The jobs found, in the order in which they came."""
        return list(self._found.values())

    def take(self, jobs: Sequence[JobFields]) -> bool:
        """Keep what fits of these; True when there are enough. A job that moved may come twice: it counts once."""
        for fields in jobs:
            if len(self._found) == self._limit:
                break
            if self._wanted is None or self._has_wanted(fields):
                self._found[fields["id"]] = self._shown(fields)
        return len(self._found) == self._limit

    def _has_wanted(self, fields: JobFields) -> bool:
        try:
            data = self._payload.load_data(fields.get("data", b""))
        except Exception:  # written with another serializer: {}, which has no members
            data = {}
        if not isinstance(data, Mapping):
            return not self._wanted
        members = cast("Mapping[str, Any]", data)
        return all(_equal(members.get(name, _ABSENT), value) for name, value in (self._wanted or {}).items())

    def _shown(self, fields: JobFields) -> JobFields:
        if not self._exclude_data:
            return fields
        return {name: value for name, value in fields.items() if name not in PAYLOAD_FIELDS}


def _equal(stored: Any, wanted: Any) -> bool:
    """As JSON sees it: 1 and 1.0 are the same number, but True is none."""
    return isinstance(stored, bool) is isinstance(wanted, bool) and bool(stored == wanted)
