"""A running job's output, chunk by chunk: checked, numbered, packed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from glidemq.commands.command import pack
from glidemq.commands.size_limit import MAX_TEXT_BYTES
from glidemq.errors import ValidationError

ATTEMPT_FIELD: Final = "x-py:attempt"
_OWN_FIELDS: Final = "x-py:"


class ChunkSource:
    """Makes the rows of one job's chunks, as the server library reads them.

    Written by: the job. Stops when: the job object does.
    """

    __slots__ = ("_head", "_limits", "_tail", "lane", "number")

    def __init__(
        self, job_id: str, token: bytes, attempt: int, limit: int | None, ttl_ms: int | None
    ) -> None:
        """token: of the run, empty for others. attempt: 1 for the first. limit, ttl_ms: None for the defaults."""
        self._head = (job_id, token or False)
        self._limits = (limit or False, ttl_ms or False)
        self._tail: tuple[str, ...] = (ATTEMPT_FIELD, str(attempt)) if attempt > 1 else ()
        self.number = 0
        """How many chunks it has made."""
        self.lane: Any = None
        """What brings them to the server; set by the job."""

    def row(self, fields: Mapping[str, str]) -> bytes:
        """The next chunk, packed.

        Raises:
            ValidationError: no fields, fields or values that are no text, names of our own, or above 1 MiB.
        """
        flat: list[str] = []
        try:
            for name, value in fields.items():
                if name not in _known_names:
                    _check_name(name)
                if type(value) is not str and not isinstance(value, str):  # pyright: ignore[reportUnnecessaryIsInstance] - users err
                    raise ValidationError(f"chunk field {name!r:.60} must be a text, not {value!r:.40}")
                flat.append(name)
                flat.append(value)
        except (AttributeError, TypeError):  # no mapping, or a name that cannot be hashed
            raise _no_texts() from None
        if not flat:
            raise ValidationError("Stream chunk must not be empty")
        self.number += 1
        try:
            row = pack((*self._head, self.number, *self._limits, *flat, *self._tail))
        except UnicodeEncodeError:  # half of a surrogate pair
            raise _no_texts() from None
        if len(row) > MAX_TEXT_BYTES:
            _check_size(flat)
        return row


# Programs use few names, and the same ones for every token.
_known_names: set[str] = set()
_KNOWN_AT_MOST: Final = 1000


def _check_name(name: str) -> None:
    if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance] - users err
        raise _no_texts()
    if name.startswith(_OWN_FIELDS):
        raise ValidationError(f"chunk fields must not start with {_OWN_FIELDS!r}")
    if len(_known_names) < _KNOWN_AT_MOST:
        _known_names.add(name)


def _no_texts() -> ValidationError:
    return ValidationError("a stream chunk must be a mapping of texts to texts")


def _check_size(flat: list[str]) -> None:
    size = sum(len(text.encode()) for text in flat)
    if size > MAX_TEXT_BYTES:
        raise ValidationError(f"Stream chunk exceeds maximum size ({size} bytes > {MAX_TEXT_BYTES})")
