"""Fallback chains: what a job turns to when an attempt has failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import orjson

from glidemq.errors import ValidationError
from glidemq.options.nested import nested_option

MAX_FALLBACKS: Final = 100


@dataclass(frozen=True, slots=True)
class Fallback:
    """One entry of a chain: the model, its provider, and whatever else the processor wants to know.

    metadata: JSON values by name.
    on: names of error classes, or the classes: the entry is passed over unless the failed attempt raised one of them,
        or a subclass. Empty: it follows any failure.
    Source: features page, section 18.
    """

    model: str
    provider: str | None = None
    metadata: Mapping[str, Any] | None = None
    on: Sequence[str | type[BaseException]] = ()


def fallbacks_to_wire(value: object) -> list[dict[str, Any]]:
    """The chain as the Node library stores it; `on`, which it does not know, as a member of our own.

    Raises:
        ValidationError: no sequence of fallbacks, too many, or a member of the wrong type.
    """
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ValidationError(f"fallbacks must be a sequence of Fallback, not {type(value).__name__}")
    entries = cast("Sequence[object]", value)
    if len(entries) > MAX_FALLBACKS:
        raise ValidationError(f"fallbacks must be at most {MAX_FALLBACKS}, not {len(entries)}")
    return [_entry_to_wire(entry) for entry in entries]


def _entry_to_wire(entry: object) -> dict[str, Any]:
    try:
        fallback = nested_option(Fallback, entry, "a fallback")
    except TypeError:  # a mapping without a model
        raise ValidationError("a fallback needs a model") from None
    wire: dict[str, Any] = {"model": _text(fallback.model, "model")}
    if fallback.provider is not None:
        wire["provider"] = _text(fallback.provider, "provider")
    if fallback.metadata is not None:
        wire["metadata"] = _metadata(fallback.metadata)
    kinds = [_class_name(kind) for kind in _kinds(fallback.on)]
    if kinds:
        wire["x-py:on"] = kinds
    return wire


def _text(value: object, name: str) -> str:
    if not isinstance(value, str) or not value:
        raise ValidationError(f"the {name} of a fallback must be a non-empty text, not {value!r:.40}")
    return value


def _metadata(value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValidationError(f"the metadata of a fallback must be a mapping, not {type(value).__name__}")
    metadata = cast("Mapping[str, Any]", value)
    try:
        orjson.dumps(metadata)
    except (TypeError, ValueError) as error:  # orjson's own errors are TypeErrors
        raise ValidationError(f"the metadata of a fallback must be JSON values: {error}") from None
    return metadata


def _kinds(value: object) -> Sequence[object]:
    if isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
        raise ValidationError("the `on` of a fallback must be a sequence of error classes or their names")
    return cast("Sequence[object]", value)


def _class_name(kind: object) -> str:
    if isinstance(kind, type) and issubclass(kind, BaseException):
        return kind.__name__
    if isinstance(kind, str) and kind:
        return kind
    raise ValidationError(f"the `on` of a fallback must hold error classes or their names, not {kind!r:.40}")


def fallbacks_from_wire(value: object) -> tuple[Fallback, ...]:
    """A stored chain. Entries keep their place: one that makes no sense has an empty model.

    Raises:
        TypeError: no list.
    """
    if not isinstance(value, list):
        raise TypeError("a chain of fallbacks is a list")
    return tuple(_entry_from_wire(entry) for entry in cast("list[object]", value))


def fallback_at(value: object, index: int) -> Fallback | None:
    """The entry that a job has moved on to, the last one if that is past the end; None for index 0, and no chain."""
    if index <= 0 or not isinstance(value, list):
        return None
    chain = fallbacks_from_wire(cast("list[object]", value))
    return chain[min(index, len(chain)) - 1] if chain else None


def _entry_from_wire(entry: object) -> Fallback:
    members = cast("dict[str, Any]", entry) if isinstance(entry, dict) else {}
    model, provider = members.get("model"), members.get("provider")
    metadata, kinds = members.get("metadata"), members.get("x-py:on")
    return Fallback(
        model=model if isinstance(model, str) else "",
        provider=provider if isinstance(provider, str) else None,
        metadata=cast("dict[str, Any]", metadata) if isinstance(metadata, dict) else None,
        on=tuple(str(kind) for kind in cast("list[object]", kinds)) if isinstance(kinds, list) else (),
    )


def follows_errors(wire_fallbacks: object) -> bool:
    """Whether any entry of a stored chain depends on the error, so that the server must be told which it was."""
    if not isinstance(wire_fallbacks, list):
        return False
    return any(
        isinstance(entry, dict) and "x-py:on" in entry for entry in cast("list[object]", wire_fallbacks)
    )


def error_names(error: BaseException) -> list[str]:
    """The name of the error's class and of those that it derives from."""
    return [kind.__name__ for kind in type(error).__mro__ if issubclass(kind, BaseException)]
