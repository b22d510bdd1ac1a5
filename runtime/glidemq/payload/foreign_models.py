"""Models of pydantic and msgspec: recognised without importing them, validated by their own libraries."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, cast

from glidemq.payload.misfit import MisfitError


def is_pydantic(tp: Any) -> bool:
    """A pydantic model or pydantic dataclass; told without importing pydantic."""
    return isinstance(tp, type) and hasattr(tp, "__pydantic_validator__")


def is_struct(tp: Any) -> bool:
    """A msgspec Struct; told without importing msgspec."""
    return isinstance(tp, type) and hasattr(tp, "__struct_fields__")


def read_pydantic(validate: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A reader out of a pydantic validating function; ValueError for what is no JSON."""
    invalid: type[Exception] = importlib.import_module("pydantic").ValidationError

    def read(value: Any) -> Any:
        try:
            return validate(value)
        except invalid as error:
            problems: list[dict[str, Any]] = cast(Any, error).errors(include_url=False)
        if problems[0]["type"] == "json_invalid":
            raise ValueError(problems[0]["msg"])
        misfit = MisfitError(problems[0]["msg"])
        misfit.further = len(problems) - 1
        for part in reversed(problems[0]["loc"]):
            misfit.inside(part)
        raise misfit

    return read


def read_struct(convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A reader out of a msgspec decoding function; ValueError for what is no JSON."""
    invalid: type[Exception] = importlib.import_module("msgspec").ValidationError

    def read(value: Any) -> Any:
        try:
            return convert(value)
        except invalid as error:
            problem, _, place = str(error).partition(" - at `$")
            misfit = MisfitError(problem)
            if place:
                misfit.inside(place.rstrip("`").lstrip("."))
            raise misfit from None

    return read
