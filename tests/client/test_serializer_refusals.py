"""Serializers that cannot be one are refused where they are given, and those that fail are told by their error."""

from __future__ import annotations

from typing import Any

import pytest

from glidemq.errors import ConfigurationError, SerializationError
from glidemq.payload import Payload


def test_object_that_is_no_serializer_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"serialize\(value\) and deserialize\(text\)"):
        Payload(object())  # type: ignore[arg-type]


class Silent:
    """A serializer whose errors say nothing."""

    def serialize(self, value: Any) -> str:
        raise LookupError

    def deserialize(self, text: str) -> Any:
        return None


class Awaited(Silent):
    async def deserialize(self, text: str) -> Any:
        return None


def test_serializer_that_has_to_be_awaited_is_refused() -> None:
    with pytest.raises(
        ConfigurationError, match=r"serializer\.deserialize must be a plain method, not async"
    ):
        Payload(Awaited())


def test_class_in_the_place_of_a_serializer_is_refused_with_what_to_pass() -> None:
    with pytest.raises(ConfigurationError, match=r"not the class Silent: pass Silent\(\)"):
        Payload(Silent)  # type: ignore[arg-type]


def test_serializer_that_fails_without_a_word_is_told_by_its_error_s_class() -> None:
    with pytest.raises(SerializationError, match=r"^Serializer failed on job data: LookupError$"):
        Payload(Silent()).dump_data(5)
