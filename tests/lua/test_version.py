"""gmq_version and the version check of every other call."""

from __future__ import annotations

import valkey

from glidemq_lua import LIBRARY_VERSION
from tests.lua.conftest import Call


def test_version_is_an_integer_without_keys_or_arguments(library: None, raw: valkey.Valkey) -> None:
    assert raw.fcall("gmq_version", 0) == LIBRARY_VERSION


def test_call_that_needs_a_newer_library_is_told_so_and_does_nothing(
    call: Call, raw: valkey.Valkey, queue_name: str
) -> None:
    row = ["n", "{}", "{}", 0, 0, 0, 0, 0, False, False, False, False]
    reply = call("enqueue", queue_name, v=LIBRARY_VERSION + 1, jobs=[row])
    assert reply == [b"library_outdated", LIBRARY_VERSION]
    assert not raw.keys(f"glide:{{{queue_name}}}:*")


def test_argument_that_is_no_map_is_refused_as_data(
    library: None, raw: valkey.Valkey, queue_name: str
) -> None:
    reply: bytes = raw.fcall("gmq_step", 1, f"glide:{{{queue_name}}}:meta", b"\xc1")
    assert b"bad_argument" in reply
