"""What the records in the rings carry, on top of the kinds and headers that `glidemq.rings.records` defines.

    activation ring  gateway -> actor   ACTIVATION: seq of the lease, its identity, the packed job
    reply ring       gateway -> actor   REPLY_PART, REPLY: seq of the command, nothing or an error, the reply
                                        ABORT: seq of the lease whose abort signal was set; END: it is cancelled, too
    outbound ring    actor -> gateway   MANIFEST; COMPLETION, FAILURE: seq of the lease, service time, tokens and queue,
                                        the packed row for the server; SKIPPED: seq of the lease; COMMAND: its own seq

Queue names travel as text, since gateway and actor may have been started with different versions of the app.
"""

from __future__ import annotations

import struct
from typing import Any, Final

from glidemq import errors
from glidemq.commands.command import pack, unpack
from glidemq.commands.step import Activation
from glidemq.pipeline.lease import Lease
from glidemq.rings.cancel_board import CancelReason
from glidemq.rings.records import CommandHeader, JobIdentity, pack_identity

# Body of an ABORT that also cancels the coroutine: the reason, and a mark.
END: Final = bytes((int(CancelReason.ABORT), 1))

# The name only steers estimates and logs on this way.
NAME_BYTES = 64

# Service time in ns; tokens that the job has used, -1 when its processor did not say.
_RUN = struct.Struct("<Qq")


def identity_of(lease: Lease) -> bytes:
    """Header of an activation: whose lease it is, for the ledger and for a gateway that takes over."""
    return pack_identity(
        lease.processed_on,
        lease.flags,
        lease.pump.queue_bytes,
        lease.id,
        lease.token,
        lease.entry_id,
        lease.name[:NAME_BYTES],
    )


def activation_of(identity: JobIdentity) -> Activation:
    """What a gateway that takes over knows of an activation: enough to extend, report and return it."""
    return Activation(
        blob=b"",
        id=identity.job_id,
        token=identity.token,
        entry_id=identity.entry_id,
        name=identity.name,
        opts=b"{}",
        processed_on=identity.processed_on,
        flags=identity.flags,
    )


def outcome_header(service_ns: int, queue: bytes, tokens: int = -1) -> bytes:
    """How long the job ran, what it has used, and in which queue it lives."""
    return _RUN.pack(service_ns, tokens) + queue


def service_ns_of(header: bytes) -> int:
    """How long the job ran."""
    service_ns: int = _RUN.unpack_from(header)[0]
    return service_ns


def tokens_of(header: bytes) -> int:
    """What the job has used; -1 when its processor did not say."""
    tokens: int = _RUN.unpack_from(header)[1]
    return tokens


def queue_of(header: bytes) -> str:
    """The queue in which the job lives."""
    return header[_RUN.size :].decode()


def command_header(function: str, queue_key: str, replayable: bool) -> bytes:
    """Which function of the server library a processor's command calls; its arguments are the record's body."""
    return CommandHeader(replayable, function.encode(), queue_key.encode()).pack()


NO_ERROR = b""
# Four bytes each at most, within a header.
ERROR_CHARACTERS = 1000


def error_header(error: errors.GlideMQError) -> bytes:
    """An error as it crosses to the process whose processor made the call."""
    return pack((type(error).__name__, str(error)[:ERROR_CHARACTERS]))


def read_error_header(header: bytes) -> errors.GlideMQError:
    """The error again, as its own class where this process knows it."""
    name, text = (part.decode(errors="replace") for part in unpack(header))
    kind: Any = getattr(errors, name, None)
    if not (isinstance(kind, type) and issubclass(kind, errors.GlideMQError)):
        kind = errors.ServerError
    error: errors.GlideMQError = kind(text)
    return error
