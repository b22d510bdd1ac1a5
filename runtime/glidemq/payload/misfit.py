"""What does not fit its type, and where."""

from __future__ import annotations

from typing import Any


class MisfitError(Exception):
    """A value does not fit its type; caught and reported as PayloadValidationError.

    The place is put together while the error passes the fields around it.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.place = ""
        self.further = 0

    def inside(self, part: str | int) -> MisfitError:
        """The same, seen from around the field or index `part`."""
        own = f"[{part}]" if isinstance(part, int) else str(part)
        joint = "." if self.place and not self.place.startswith("[") else ""
        self.place = f"{own}{joint}{self.place}"
        return self

    def __str__(self) -> str:
        place = f"{self.place}: " if self.place else ""
        more = f" (and {self.further} more)" if self.further else ""
        return f"{place}{' '.join(self.problem.split())}{more}"


def expecting(what: str, value: Any) -> MisfitError:
    """The misfit of a value of the wrong kind."""
    return MisfitError(f"expected {what}, got {'null' if value is None else type(value).__name__}")
