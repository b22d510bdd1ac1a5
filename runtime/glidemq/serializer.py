"""How values become text and text becomes values: JSON by default, or a serializer of the user's own."""

from __future__ import annotations

import dataclasses
import enum
import json
import math
import sys
from collections.abc import Iterator
from typing import Any, Final, Protocol, cast, runtime_checkable

import orjson

from glidemq.errors import SerializationError

MIN_INT, MAX_INT = -(2**63), 2**64 - 1


@runtime_checkable
class Serializer(Protocol):
    """Turns job data, return values and progress into text and back; the same one everywhere on a queue.

    Both methods are synchronous, and `deserialize(serialize(x))` gives `x` again. Text must be valid Unicode
    and must not start with "gz:" or "zs:", which mark compressed data. Source: features page, section 13.
    """

    def serialize(self, value: Any, /) -> str:
        """The text to store."""
        ...

    def deserialize(self, text: str, /) -> Any:
        """The value that was stored."""
        ...


class JsonSerializer:
    """The default: JSON without spaces, as every glide-mq reads and writes it.

    Writes dicts with text keys, lists, tuples, texts, finite numbers, booleans, None, dataclasses, enums,
    dates, UUIDs, pydantic models and msgspec Structs. Integers have 64 bits; Node reads those beyond 2**53
    rounded.
    """

    def __repr__(self) -> str:
        return "JSON_SERIALIZER"

    def serialize(self, value: Any, /) -> str:
        """See `dump_json`."""
        return dump_json(value).decode()

    def deserialize(self, text: str, /) -> Any:
        """See `load_json`."""
        return load_json(text.encode())


JSON_SERIALIZER: Final = JsonSerializer()


def dump_json(value: Any, what: str = "value") -> bytes:
    """JSON of a value, in UTF-8. `what` is the value's name in messages.

    Raises:
        SerializationError: names the place and the type of what JSON cannot express, NaN and infinity
        included.
    """
    try:
        raw = orjson.dumps(value, _simplify)
    except (TypeError, ValueError, RecursionError) as error:
        raise SerializationError(_explain(value, what, error)) from None
    # orjson writes NaN and infinity as null without a word. Looking for that word costs nanoseconds.
    if b"null" in raw:
        for place, problem in _problems(value, what, 0):
            raise SerializationError(_sentence(place, problem))
    return raw


def load_json(raw: bytes) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: not JSON.
    """
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        # JavaScript writes half a character (a text cut inside an emoji) as the escape of a lone surrogate.
        # That is not Unicode and orjson refuses it, but one bad character is no reason to lose the job.
        return json.loads(raw, parse_constant=_refuse_constant)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


# -- beyond what orjson knows --------------------------------------------------------------------------------


def _simplify(value: Any) -> Any:
    """What to write instead of an object that orjson does not know; TypeError if there is nothing."""
    kind: Any = type(cast(object, value))
    if hasattr(kind, "__pydantic_serializer__"):
        # By alias: validation expects the aliases, so only this gives the same model on the other side.
        return value.model_dump(mode="json", by_alias=True)
    if hasattr(kind, "__struct_fields__"):
        return sys.modules["msgspec"].to_builtins(value)
    if isinstance(value, tuple):
        return list(cast("list[Any]", value))
    if isinstance(value, float):
        return float(value)
    raise TypeError


def _explain(value: Any, what: str, error: Exception) -> str:
    for place, problem in _problems(value, what, 0):
        return _sentence(place, problem)
    return f"{what} cannot be serialized to JSON: {error or type(error).__name__}"


def _sentence(place: str, problem: str) -> str:
    return f"{place} cannot be serialized to JSON: it is {problem}"


_MAX_DEPTH = 250


def _problems(value: Any, place: str, depth: int) -> Iterator[tuple[str, str]]:
    """Places inside a value that JSON cannot express, and what stands there."""
    if value is None or isinstance(value, bool):
        return
    if isinstance(value, float):
        if not math.isfinite(value):
            yield place, f"{float(value)}, which JSON cannot express"
    elif isinstance(value, int):
        if not MIN_INT <= value <= MAX_INT:
            yield place, "an integer of more than 64 bits (store it as text)"
    elif isinstance(value, str):
        if not value.isascii() and not _is_unicode(value):
            yield place, "text with a lone surrogate, which is not valid Unicode"
    elif depth > _MAX_DEPTH:
        yield f"{place:.80}…", "nested too deeply, or contains itself"
    else:
        yield from _problems_inside(value, place, depth + 1)


def _problems_inside(value: Any, place: str, depth: int) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, member in cast("dict[object, Any]", value).items():
            if not isinstance(key, str):
                yield place, f"a dict with the key {key!r:.40} ({type(key).__name__}): keys must be text"
            else:
                yield from _problems(key, f"a key of {place}", depth)
                yield from _problems(member, f"{place}.{key:.80}", depth)
    elif isinstance(value, (list, tuple)):
        for index, member in enumerate(cast("list[Any]", value)):
            yield from _problems(member, f"{place}[{index}]", depth)
    elif isinstance(value, enum.Enum):
        yield from _problems(value.value, place, depth)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from _problems(getattr(value, field.name, None), f"{place}.{field.name}", depth)
    else:
        yield from _problems_of_object(value, place, depth)


def _problems_of_object(value: Any, place: str, depth: int) -> Iterator[tuple[str, str]]:
    try:
        orjson.dumps(value)  # dates, UUIDs, enums: leaves that orjson knows
    except TypeError:
        try:
            simpler = _simplify(value)
        except Exception as error:
            reason = f" ({error})" if str(error) else ""
            yield place, f"of type {_type_name(value)}{_advice(value)}{reason}"
        else:
            yield from _problems(simpler, place, depth)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _type_name(value: object) -> str:
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _advice(value: object) -> str:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return " (encode it as base64 text)"
    if isinstance(value, (set, frozenset)):
        return " (turn it into a list)"
    return ""
