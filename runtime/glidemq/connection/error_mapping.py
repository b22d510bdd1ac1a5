"""The one place where errors of valkey-glide and of the server become glidemq's, with a verdict."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from glidemq.errors import (
    AuthenticationError,
    ClosedError,
    ConnectionError,
    GlideMQError,
    GroupMissingError,
    QueueFullError,
    ServerError,
    UnknownOutcomeError,
)


class Verdict(Enum):
    """What a failed request means for the question whether it may be sent again."""

    # The server, or the client, refused it for a passing reason: repeat it, whatever it does.
    NOT_EXECUTED = "not executed"
    # Sent, or perhaps sent, and no reply: executed 0 or 1 times, perhaps later. Repeat it only if that is
    # harmless.
    UNKNOWN = "unknown"
    # Refused because the node lacks the function: load the library, then repeat it.
    LIBRARY_MISSING = "library missing"
    # Answered with an error that repeating will not change.
    FINAL = "final"


@dataclass(frozen=True, slots=True)
class Failure:
    """A verdict, and the error to raise if the request is not repeated."""

    verdict: Verdict
    error: GlideMQError


# How glide 2.6 writes the error kinds that it knows; all other codes arrive as "CODE: text".
_GLIDE_KINDS = {
    "ResponseError": "ERR",
    "BusyLoadingError": "LOADING",
    "ReadOnly": "READONLY",
    "TryAgain": "TRYAGAIN",
    "ClusterDown": "CLUSTERDOWN",
    "MasterDown": "MASTERDOWN",
    "PermissionDenied": "NOPERM",
    "CrossSlot": "CROSSSLOT",
    "Moved": "MOVED",
    "Ask": "ASK",
}
_SIGNALLED = re.compile(r"An error was signalled by the server: - (\w+): (.*)", re.DOTALL)
_CODED = re.compile(r"([A-Z][A-Z0-9]+): (.*)", re.DOTALL)
_AUTHENTICATION = re.compile(r"\b(WRONGPASS|NOAUTH)\b|without any password configured")

# The server refuses these before it executes anything.
_PASSING = frozenset(
    {"LOADING", "BUSY", "READONLY", "TRYAGAIN", "CLUSTERDOWN", "MASTERDOWN", "NOREPLICAS", "MOVED", "ASK"}
)
# Texts of glide itself for requests that never left this process.
_UNSENT = (
    "connect failed",
    "Failed to create initial connections",
    "Reached maximum inflight requests",
    "ConnectionNotFoundForRoute",
    "FatalSendError",
)


def server_code(text: str) -> tuple[str, str]:
    """Split an error text of glide into the server's code (`ERR` when it sent none) and its message."""
    signalled = _SIGNALLED.fullmatch(text)
    if signalled:
        kind = signalled[1]
        return _GLIDE_KINDS.get(kind, kind.upper()), signalled[2]
    coded = _CODED.fullmatch(text)
    if coded:
        return coded[1], coded[2]
    return "ERR", text


def classify(error: BaseException, *, action: str, place: str) -> Failure:
    """Judge an exception that glide raised, or put in place of a reply, for a request.

    `action` and `place` name the request and the server for the message, for example "gmq_step of
    glide:{q}:meta" and "valkey://127.0.0.1:6379".
    """
    import glide

    text = str(error).strip()
    if isinstance(error, glide.ClosingError):
        if "fork" in text:
            return Failure(
                Verdict.FINAL, ClosedError(f"{action}: a connection cannot be used in a forked child")
            )
        return Failure(Verdict.FINAL, ClosedError(f"{action}: the connection to {place} is closed"))
    if any(marker in text for marker in _UNSENT):
        return _unsent(text, action, place)
    if isinstance(error, glide.TimeoutError):
        return _unknown(f"no reply from {place} in time", action)
    if isinstance(error, glide.ConnectionError):
        return _unknown(f"the connection to {place} broke", action)
    if isinstance(error, glide.RequestError):
        return _answered(text, action, place)
    # Not an error of the client: a defect of this process, better seen than retried.
    raise error


def read_error(error: BaseException, *, action: str, place: str) -> GlideMQError:
    """The error to raise for a request that changes nothing: no reply then means no more than "not reachable"."""
    failure = classify(error, action=action, place=place)
    if failure.verdict is Verdict.UNKNOWN:
        return ConnectionError(f"{action}: no reply from {place}")
    return failure.error


def _unsent(text: str, action: str, place: str) -> Failure:
    if _AUTHENTICATION.search(text):
        return Failure(
            Verdict.FINAL,
            AuthenticationError(f"{place} refused the user name or password; nothing was executed"),
        )
    return Failure(
        Verdict.NOT_EXECUTED, ConnectionError(f"{action}: {place} cannot be reached; nothing was executed")
    )


def _unknown(reason: str, action: str) -> Failure:
    return Failure(
        Verdict.UNKNOWN,
        UnknownOutcomeError(f"{action}: {reason}; the call was executed 0 or 1 times, perhaps later"),
    )


def _answered(text: str, action: str, place: str) -> Failure:
    code, message = server_code(text)
    if code in _PASSING:
        return Failure(
            Verdict.NOT_EXECUTED,
            ConnectionError(
                f"{action}: {place} cannot serve it now ({code} {message}); nothing was executed"
            ),
        )
    if message.startswith("Function not found"):
        return Failure(Verdict.LIBRARY_MISSING, ServerError(f"{action}: {message}", code))
    if code == "OOM":
        return Failure(
            Verdict.FINAL,
            QueueFullError(f"{action}: {place} is out of memory (maxmemory is reached); nothing was written"),
        )
    if code == "NOGROUP":
        return Failure(Verdict.FINAL, GroupMissingError(f"{action}: {message}", code))
    if code in {"NOAUTH", "WRONGPASS"}:
        return Failure(Verdict.FINAL, AuthenticationError(f"{action}: {place} refused the user: {message}"))
    if code == "NOPERM":
        return Failure(Verdict.FINAL, ServerError(f"{action}: the user lacks a permission: {message}", code))
    return Failure(Verdict.FINAL, ServerError(f"{action}: {place} answered {code} {message}", code))
