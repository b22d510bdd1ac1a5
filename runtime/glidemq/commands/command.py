"""The typed value that stands for one call of one function of the server library."""

# msgpack comes without types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Generic, TypeVar

import msgpack  # type: ignore[import-untyped]

R = TypeVar("R")

# Old-style msgpack: text and bytes are both "raw", which is all that the server's cmsgpack understands.
_packer: Any = msgpack.Packer(use_bin_type=False, autoreset=True)


def pack(value: Any) -> bytes:
    """Encode a call's arguments, or a fragment of them, for the server's cmsgpack."""
    packed: bytes = _packer.pack(value)
    return packed


def unpack(raw: bytes) -> Any:
    """Decode a reply. Every text comes back as bytes, since payloads written by others need not be UTF-8."""
    return msgpack.unpackb(raw, raw=True, strict_map_key=False)


class Command(ABC, Generic[R]):
    """One call of one server function: what to send, and how to read what comes back.

    Built by the client or the runtime, executed only by a `connection`, which may sit in this process or at
    the other end of a ring.
    """

    function: ClassVar[str]
    # True when executing the same call twice has the effect of executing it once, so that a connection may
    # repeat it after a lost reply.
    replayable: bool = False

    __slots__ = ("queue_key",)

    def __init__(self, queue_key: str) -> None:
        self.queue_key = queue_key  # KEYS[1], for example "glide:{thumbnails}:meta"

    @abstractmethod
    def arguments(self) -> bytes:
        """The msgpack map that is the call's only argument."""

    @abstractmethod
    def parse_reply(self, reply: list[Any]) -> R:
        """Turn the decoded reply, status first, into a result, or raise the typed error it stands for."""
