"""Arguments put together from parts that are packed already, so that a gateway never encodes a job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from glidemq.commands.command import pack

# The lowest version of the server library that may serve these calls.
CALL_VERSION: Final = 1

_FIXED_LIMIT = 16
_SHORT_LIMIT = 65536


def array_header(length: int) -> bytes:
    """How msgpack announces an array of `length` elements."""
    if length < _FIXED_LIMIT:
        return bytes((0x90 | length,))
    if length < _SHORT_LIMIT:
        return b"\xdc" + length.to_bytes(2, "big")
    return b"\xdd" + length.to_bytes(4, "big")


def packed_call(members: Mapping[str, Any], rows_name: str, rows: Sequence[bytes]) -> bytes:
    """The argument map of a call: `members` are encoded, the packed `rows` are copied as they are."""
    count = len(members) + 2
    assert count < _FIXED_LIMIT, "a fixmap holds 15 members"
    parts = [bytes((0x80 | count,)), _VERSION_MEMBER]
    for name, value in members.items():
        parts.append(pack(name))
        parts.append(pack(value))
    parts.append(pack(rows_name))
    parts.append(array_header(len(rows)))
    parts.extend(rows)
    return b"".join(parts)


_VERSION_MEMBER: Final = pack("v") + pack(CALL_VERSION)
