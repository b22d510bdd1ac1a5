"""Readers of the types that JSON values are validated into, with the standard library alone."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Callable, Mapping, Sequence, Set
from datetime import date, datetime, time
from typing import Any, cast

from glidemq.payload.misfit import MisfitError, expecting

Reader = Callable[[Any], Any]
"""Turns a JSON value into a value of one type, or raises MisfitError."""


def type_name(tp: Any) -> str:
    """How a message calls a type."""
    return getattr(tp, "__name__", None) or str(tp)


def _instance(kind: type | tuple[type, ...], what: str) -> Reader:
    def read(value: Any) -> Any:
        # A bool is an int to Python, not to anybody who writes JSON.
        if isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
            return value
        raise expecting(what, value)

    return read


def calling(make: Callable[[Any], Any], what: str, kind: type = str) -> Reader:
    """What `make` makes of a value of type `kind`; its ValueError and TypeError are misfits."""

    def read(value: Any) -> Any:
        if isinstance(value, kind):
            try:
                return make(value)
            except (ValueError, TypeError):
                raise MisfitError(f"expected {what}, got {value!r:.60}") from None
        raise expecting(what, value)

    return read


def _number(value: Any) -> Any:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    raise expecting("a number", value)


def _nothing(value: Any) -> Any:
    if value is None:
        return None
    raise expecting("null", value)


SIMPLE: dict[Any, Reader] = {
    Any: lambda value: value,
    object: lambda value: value,
    None: _nothing,
    type(None): _nothing,
    bool: _instance(bool, "true or false"),
    int: _instance(int, "an integer"),
    float: _number,
    str: _instance(str, "text"),
    datetime: calling(datetime.fromisoformat, "an ISO 8601 date and time"),
    date: calling(date.fromisoformat, "an ISO 8601 date"),
    time: calling(time.fromisoformat, "an ISO 8601 time"),
    uuid.UUID: calling(uuid.UUID, "a UUID"),
}
LISTS: dict[Any, Callable[[list[Any]], Any]] = {
    list: list, Sequence: list, tuple: tuple, set: set, Set: frozenset, frozenset: frozenset,
}  # fmt: skip


def union(readers: list[Reader], members: tuple[Any, ...]) -> Reader:
    """The first member that the value fits."""

    def read(value: Any) -> Any:
        misfits: list[MisfitError] = []
        for reader in readers:
            try:
                return reader(value)
            except MisfitError as misfit:
                misfits.append(misfit)
        # The one that got into the value before it failed knows best what is wrong.
        deepest = max(misfits, key=lambda misfit: len(misfit.place))
        raise deepest if deepest.place else expecting(" or ".join(map(type_name, members)), value)

    return read


def literal(values: tuple[Any, ...]) -> Reader:
    """One of the values."""

    def read(value: Any) -> Any:
        for allowed in values:
            if value == allowed and type(value) is type(allowed):
                return allowed
        raise MisfitError(f"expected one of {', '.join(map(repr, values))}, got {value!r:.60}")

    return read


def list_of(member: Reader, make: Callable[[list[Any]], Any]) -> Reader:
    """A list, then what `make` makes of it."""

    def read(value: Any) -> Any:
        if not isinstance(value, list):
            raise expecting("a list", value)
        return make([_part(member, index, item) for index, item in enumerate(cast("list[object]", value))])

    return read


def fixed_tuple(members: list[Reader]) -> Reader:
    """A list of exactly these, as a tuple."""

    def read(value: Any) -> Any:
        if not isinstance(value, list) or len(cast("list[object]", value)) != len(members):
            raise expecting(f"a list of {len(members)}", value)
        items = zip(members, cast("list[object]", value), strict=True)
        return tuple(_part(member, index, item) for index, (member, item) in enumerate(items))

    return read


def mapping_of(member: Reader) -> Reader:
    """An object whose values are all of one type."""

    def read(value: Any) -> Any:
        if not isinstance(value, dict):
            raise expecting("an object", value)
        return {key: _part(member, key, item) for key, item in cast("dict[str, Any]", value).items()}

    return read


def dataclass_of(tp: Any, readers: Mapping[str, Reader]) -> Reader:
    """A dataclass; members that it does not have are ignored."""
    members = [field for field in dataclasses.fields(tp) if field.init]
    missing = dataclasses.MISSING
    required = {m.name for m in members if m.default is missing and m.default_factory is missing}

    def read(value: Any) -> Any:
        if not isinstance(value, dict):
            raise expecting("an object", value)
        given = cast("dict[str, Any]", value)
        _check_required(required, given)
        arguments = {
            m.name: _part(readers[m.name], m.name, given[m.name]) for m in members if m.name in given
        }
        try:
            return tp(**arguments)
        except (ValueError, TypeError) as error:  # __post_init__ has checks of its own
            raise MisfitError(str(error)) from None

    return read


def typed_dict_of(readers: Mapping[str, Reader], required: set[str]) -> Reader:
    """A dict with these keys; others are kept as they are."""

    def read(value: Any) -> Any:
        if not isinstance(value, dict):
            raise expecting("an object", value)
        given = dict(cast("dict[str, Any]", value))
        _check_required(required, given)
        for name, reader in readers.items():
            if name in given:
                given[name] = _part(reader, name, given[name])
        return given

    return read


def _check_required(required: set[str], given: Mapping[str, Any]) -> None:
    lacking = sorted(required - given.keys())
    if lacking:
        misfit = MisfitError("is required").inside(lacking[0])
        misfit.further = len(lacking) - 1
        raise misfit


def _part(reader: Reader, name: str | int, value: Any) -> Any:
    try:
        return reader(value)
    except MisfitError as misfit:
        raise misfit.inside(name) from None
