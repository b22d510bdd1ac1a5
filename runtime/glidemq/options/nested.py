"""What options with fields of their own share: mappings in place of dataclasses, suggestions, counts."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import timedelta
from typing import Any, TypeVar, cast

from glidemq.errors import ValidationError

MAX_COUNT = 2**31 - 1

T = TypeVar("T")


def nested_option(kind: type[T], value: object, name: str) -> T:
    """`value` as an instance of the dataclass `kind`; a mapping with the same fields is accepted too.

    Raises:
        ValidationError: neither, or an unknown field (with a suggestion).
    """
    if isinstance(value, kind):
        return value
    if isinstance(value, Mapping) and is_dataclass(kind):
        mapping = cast("Mapping[str, Any]", value)
        known = [field.name for field in fields(kind)]
        for key in mapping:
            if key not in known:
                raise unknown_name(key, known, f"field of {name}")
        return kind(**mapping)
    article = "an" if kind.__name__[0] in "AEIOU" else "a"
    raise ValidationError(
        f"{name} must be {article} {kind.__name__} or a mapping with its fields, not {value!r:.40}"
    )


def unknown_name(name: object, known: list[str], what: str) -> ValidationError:
    """The error for a name that is not among `known`, suggesting the one that was probably meant."""
    snake = re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", str(name)).lower()
    near = [snake] if snake in known else difflib.get_close_matches(snake, known, n=1, cutoff=0.6)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(known))}"
    return ValidationError(f"Unknown {what} {name!r}: {hint}")


def count(value: object, sentence: str) -> int:
    """`value` if it is a non-negative 32-bit integer, else a ValidationError with `sentence`."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_COUNT:
        raise ValidationError(sentence)
    return value


def seconds(milliseconds: Any) -> float:
    """Seconds of a stored number of milliseconds, which others may have written with a fraction."""
    return timedelta(milliseconds=milliseconds).total_seconds()
