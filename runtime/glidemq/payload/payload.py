"""The crossing between a queue's values and its stored text."""

from __future__ import annotations

import inspect
import re
from typing import Any, Final

from glidemq.errors import ConfigurationError, PayloadValidationError, SerializationError, ValidationError
from glidemq.payload.compression import MARKERS, inflate
from glidemq.payload.validator import Validator, validator_for
from glidemq.serializer import JSON_SERIALIZER, JsonSerializer, Serializer, dump_json, load_json

MAX_PAYLOAD_BYTES: Final = 1_048_576
_NUMBER: Final = re.compile(rb"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")


def _checked(serializer: object) -> Serializer:
    if isinstance(serializer, type):
        raise ConfigurationError(
            f"serializer must be an object, not the class {serializer.__name__}: pass {serializer.__name__}()"
        )
    if not isinstance(serializer, Serializer):
        raise ConfigurationError("serializer must have the methods serialize(value) and deserialize(text)")
    for method in (serializer.serialize, serializer.deserialize):
        if inspect.iscoroutinefunction(method):
            raise ConfigurationError(f"serializer.{method.__name__} must be a plain method, not async")
    return serializer


class Payload:
    """How one queue's job data and results become text and values again.

    data_type: what a processor's annotation says about the data. Data is validated into it if it is, or
        contains, a pydantic model, msgspec Struct, dataclass or TypedDict; else data is what the serializer
    gives. Raises ConfigurationError for a serializer that cannot be one, and for a type that cannot be
    validated.
    """

    __slots__ = ("_plain_json", "_validator", "serializer")

    def __init__(self, serializer: Serializer = JSON_SERIALIZER, data_type: object = Any) -> None:
        self.serializer = _checked(serializer)
        self._plain_json = type(serializer) is JsonSerializer
        self._validator: Validator | None = validator_for(data_type)

    @property
    def validates(self) -> bool:
        """Whether data is checked against a type."""
        return self._validator is not None

    # -- data --------------------------------------------------------------------------------------------

    def dump_data(self, data: Any) -> bytes:
        """The text of job data, in UTF-8.

        Raises:
            SerializationError: names the place and type of what cannot be expressed.
            ValidationError: above 1 MiB.
        """
        raw = dump_json(data, "data") if self._plain_json else self._dump(data, "job data")
        if len(raw) > MAX_PAYLOAD_BYTES:
            raise ValidationError(
                f"Job data exceeds maximum size ({len(raw)} bytes > {MAX_PAYLOAD_BYTES} bytes). "
                "Use smaller payloads or store large data externally."
            )
        return raw

    def load_data(self, raw: bytes) -> Any:
        """The value of stored data, inflated if need be; an empty text is {}.

        Raises:
            PayloadValidationError: readable, but does not fit the data type.
            Exception: whatever inflating and deserializing raise.
        """
        if raw.startswith(MARKERS):
            raw = inflate(raw)
        if not raw:
            raw = b"{}"
        validator = self._validator
        if validator is None:
            return load_json(raw) if self._plain_json else self.load(raw)
        if self._plain_json:
            return validator.from_json(raw)
        return validator.from_value(self.load(raw))

    def unreadable_data(self) -> Any:
        """What stands for data that cannot be deserialized: {}, as in the reference.

        Raises:
            PayloadValidationError: there is a data type, which {} would only pretend to fit.
        """
        if self._validator is not None:
            raise PayloadValidationError("the stored data cannot be deserialized")
        return {}

    # -- results -----------------------------------------------------------------------------------------

    def dump_result(self, value: Any, *, in_batch: bool = False) -> bytes:
        """The text of a processor's result, in UTF-8; None is `null`. Messages are the documented reasons.

        in_batch: it is one of many, for which a shorter reason is documented.

        Raises:
            SerializationError: the result cannot be serialized.
            ValidationError: above 1 MiB.
        """
        try:
            raw = dump_json(value, "the result") if self._plain_json else self._dump(value, "return value")
        except SerializationError as error:
            if self._plain_json:
                raise SerializationError(f"Serializer failed on return value: {error}") from None
            raise
        if len(raw) > MAX_PAYLOAD_BYTES:
            advice = "" if in_batch else " Use smaller return values or store large data externally."
            raise ValidationError(
                f"Return value exceeds maximum size ({len(raw)} bytes > {MAX_PAYLOAD_BYTES} bytes).{advice}"
            )
        return raw

    # -- progress ----------------------------------------------------------------------------------------

    def dump_progress(self, value: Any) -> bytes:
        """The text of a job's progress. Numbers are stored as such, which every reader understands.

        Raises:
            SerializationError: it cannot be serialized.
        """
        if self._plain_json or type(value) in (int, float):
            return dump_json(value, "progress")
        return self._dump(value, "progress")

    def load_progress(self, raw: bytes) -> Any:
        """The value of stored progress: a number, what the serializer makes of it, or JSON, as Node writes it.

        Raises:
            ValueError: none of these.
        """
        if not self._plain_json and not _NUMBER.fullmatch(raw):
            try:
                return self.load(raw)
            except Exception:  # a serializer of the user's own may raise anything
                return load_json(raw)
        return load_json(raw)

    # -- both --------------------------------------------------------------------------------------------

    def load(self, raw: bytes) -> Any:
        """The value of a stored result. Raises whatever deserializing raises."""
        if self._plain_json:
            return load_json(raw)
        return self.serializer.deserialize(raw.decode())

    def _dump(self, value: Any, what: str) -> bytes:
        try:
            text: object = self.serializer.serialize(value)
        except Exception as error:
            reason = str(error) or type(error).__name__
            raise SerializationError(f"Serializer failed on {what}: {reason}") from error
        if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance] - users err
            raise SerializationError(
                f"Serializer failed on {what}: it returned {type(text).__name__}, not str"
            )
        try:
            raw = text.encode()
        except UnicodeEncodeError:
            raise SerializationError(f"Serializer failed on {what}: its text is not valid Unicode") from None
        if raw.startswith(MARKERS):
            raise SerializationError(
                f'Serializer failed on {what}: its text starts with "{text[:3]}", which marks compressed data'
            )
        return raw


PLAIN_PAYLOAD: Final = Payload()
