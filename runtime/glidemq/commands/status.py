"""Reading the status word that starts every reply."""

from __future__ import annotations

from typing import Any

from glidemq.errors import ServerError


def status_of(reply: list[Any]) -> str:
    """The reply's status word."""
    word: bytes = reply[0]
    return word.decode()


def unexpected(function: str, reply: list[Any]) -> ServerError:
    """The error for a status that the command does not know, above all `bad_argument`: a defect."""
    detail = " ".join(part.decode("utf-8", "replace") for part in reply if isinstance(part, bytes))
    return ServerError(f"{function} answered {detail!r}; nothing was changed")


def expect_ok(function: str, reply: list[Any]) -> None:
    """Raise ServerError unless the status is `ok`."""
    if reply[0] != b"ok":
        raise unexpected(function, reply)


def expect_job(function: str, reply: list[Any]) -> bool:
    """True for `ok`, False for `missing`; anything else raises ServerError."""
    if reply[0] == b"missing":
        return False
    expect_ok(function, reply)
    return True
