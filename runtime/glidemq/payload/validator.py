"""Data types of processors: turning stored text into the type that an annotation names."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

from glidemq.errors import PayloadValidationError
from glidemq.payload.foreign_models import is_pydantic, is_struct, read_pydantic, read_struct
from glidemq.payload.misfit import MisfitError
from glidemq.payload.structure import has_structure, reader_for
from glidemq.serializer import load_json


class Validator(NamedTuple):
    """The two ways into a type.

    Both raise PayloadValidationError, one line that names the field; `from_json` ValueError for what is no
    JSON.
    """

    from_value: Callable[[Any], Any]  # what a serializer gave
    from_json: Callable[[bytes], Any]  # JSON in UTF-8


def validator_for(data_type: Any) -> Validator | None:
    """How to validate into a type; None when the type has nothing to validate into.

    pydantic models and msgspec Structs are validated by their own libraries, straight from the text.

    Raises:
        ConfigurationError: a dataclass or TypedDict has a field whose type cannot come out of JSON.
    """
    if not has_structure(data_type):
        return None
    read = reader_for(data_type)
    return Validator(_reporting(read, data_type), _reporting(_parser(data_type, read), data_type))


def _parser(data_type: Any, read: Callable[[Any], Any]) -> Callable[[bytes], Any]:
    if is_pydantic(data_type):
        return read_pydantic(importlib.import_module("pydantic").TypeAdapter(data_type).validate_json)
    if is_struct(data_type):
        return read_struct(importlib.import_module("msgspec").json.Decoder(data_type).decode)
    return lambda raw: read(load_json(raw))


def _reporting(read: Callable[[Any], Any], data_type: Any) -> Callable[[Any], Any]:
    name = getattr(data_type, "__name__", None) or str(data_type)

    def validate(source: Any) -> Any:
        try:
            return read(source)
        except MisfitError as misfit:
            raise PayloadValidationError(f"data does not fit {name}: {misfit}") from None

    return validate
