"""From a type to its reader: dataclasses, TypedDicts, and whatever contains them or stands inside them."""

from __future__ import annotations

import dataclasses
import enum
import importlib
import types
import typing
from collections.abc import Hashable, Mapping
from typing import Any, cast

import typing_extensions

from glidemq.errors import ConfigurationError
from glidemq.payload.foreign_models import is_pydantic, is_struct, read_pydantic, read_struct
from glidemq.payload.readers import (
    LISTS,
    SIMPLE,
    Reader,
    calling,
    dataclass_of,
    fixed_tuple,
    list_of,
    literal,
    mapping_of,
    type_name,
    typed_dict_of,
    union,
)

_FIELD_QUALIFIERS = (typing.Annotated, typing_extensions.Required, typing_extensions.NotRequired)


def has_structure(tp: Any) -> bool:
    """Whether a type is, or contains as an argument, one that data is validated into."""
    tp = _unwrap(tp)
    if is_pydantic(tp) or is_struct(tp) or _is_dataclass(tp) or typing_extensions.is_typeddict(tp):
        return True
    return any(has_structure(argument) for argument in typing.get_args(tp))


def _is_dataclass(tp: Any) -> bool:
    return isinstance(tp, type) and dataclasses.is_dataclass(tp)


def _unwrap(tp: Any) -> Any:
    while True:
        if typing.get_origin(tp) in _FIELD_QUALIFIERS:
            tp = typing.get_args(tp)[0]
        elif isinstance(tp, typing.NewType):
            tp = tp.__supertype__
        elif isinstance(tp, typing_extensions.TypeAliasType):
            tp = tp.__value__
        else:
            return tp


# -- building readers ----------------------------------------------------------------------------------------


def reader_for(tp: Any) -> Reader:
    """The reader of a type.

    Raises:
        ConfigurationError: some part of the type cannot come out of JSON; names it.
    """
    return _Builder().build(tp, getattr(tp, "__name__", str(tp)))


class _Builder:
    """Builds readers once per type, so that types may contain themselves."""

    def __init__(self) -> None:
        self._records: dict[Any, Reader] = {}

    def build(self, tp: Any, place: str) -> Reader:
        tp = _unwrap(tp)
        if isinstance(tp, Hashable) and tp in SIMPLE:
            return SIMPLE[tp]
        if is_pydantic(tp):
            return read_pydantic(importlib.import_module("pydantic").TypeAdapter(tp).validate_python)
        if is_struct(tp):
            msgspec = importlib.import_module("msgspec")
            return read_struct(lambda value: msgspec.convert(value, tp))
        if _is_dataclass(tp) or typing_extensions.is_typeddict(tp):
            return self._record(tp, place)
        if isinstance(tp, enum.EnumType):
            values = [member.value for member in cast("type[enum.Enum]", tp)]
            return calling(tp, f"one of {', '.join(map(repr, values))}", object)
        return self._composed(tp, place)

    def _composed(self, tp: Any, place: str) -> Reader:
        origin, arguments = typing.get_origin(tp) or tp, typing.get_args(tp)
        if origin is typing.Union or origin is types.UnionType:
            return union([self.build(argument, place) for argument in arguments], arguments)
        if origin is typing.Literal:
            return literal(arguments)
        if origin in LISTS:
            make = LISTS[origin]
            if origin is tuple and arguments and arguments[-1] is not Ellipsis:
                return fixed_tuple([self.build(argument, place) for argument in arguments])
            return list_of(self.build(arguments[0] if arguments else Any, f"{place}[]"), make)
        if origin in (dict, Mapping):
            key, value = arguments or (str, Any)
            if _unwrap(key) is not str:
                raise ConfigurationError(f"{place}: keys of a JSON object are text, not {type_name(key)}")
            return mapping_of(self.build(value, f"{place}.*"))
        raise ConfigurationError(
            f"{place} has the type {type_name(tp)}, which cannot be validated from JSON: "
            "use JSON types, dates, UUIDs, enums, dataclasses, TypedDicts, pydantic models or msgspec Structs"
        )

    def _record(self, tp: Any, place: str) -> Reader:
        if tp not in self._records:
            # Anyone who meets the type again while it is being built gets a reader that looks it up later.
            self._records[tp] = lambda value: self._records[tp](value)
            try:
                hints = typing.get_type_hints(tp, include_extras=True)
            except NameError as error:
                raise ConfigurationError(f"{place}: {error}: import it outside TYPE_CHECKING") from None
            members = {name: self.build(hint, f"{place}.{name}") for name, hint in hints.items()}
            if _is_dataclass(tp):
                self._records[tp] = dataclass_of(tp, members)
            else:
                self._records[tp] = typed_dict_of(members, _required_keys(tp, hints))
        return self._records[tp]


def _required_keys(tp: Any, hints: Mapping[str, Any]) -> set[str]:
    # Python itself overlooks Required and NotRequired in annotations that are strings.
    required = set(tp.__required_keys__)
    for name, hint in hints.items():
        while typing.get_origin(hint) is typing.Annotated:
            hint = typing.get_args(hint)[0]
        if typing.get_origin(hint) is typing_extensions.Required:
            required.add(name)
        elif typing.get_origin(hint) is typing_extensions.NotRequired:
            required.discard(name)
    return required
