"""What travels through the rings: the kinds of records, and the headers that identify them."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple


class RecordKind(IntEnum):
    """What a record is. The rings carry any number from 1 to 255; 0 is their own."""

    FILLER = 0
    # gateway → actor
    ACTIVATION = 1  # header JobIdentity, body the job
    REPLY = 2  # seq of the command, body its reply, or the end of it
    ABORT = 3  # seq of the activation whose cancel word was set: wakes an event loop, which polls no words
    REPLY_PART = 4  # seq of the command, body a part of its reply; more follow, and a REPLY at the end
    # actor → gateway
    COMPLETION = 16  # header and seq of the activation, body the return value
    FAILURE = 17  # header and seq of the activation, body reason and back-off
    SKIPPED = 18  # header and seq of the activation that yielded to a cancel word
    COMMAND = 19  # header CommandHeader, body its arguments
    MANIFEST = 20  # what the actor process serves
    BATCH = 21  # seq of a job, body the seqs of all that were started together with it


OUTCOMES = frozenset({RecordKind.COMPLETION, RecordKind.FAILURE, RecordKind.SKIPPED})
"""The kinds that end an activation; their seq is the activation's."""


class Record(NamedTuple):
    """One record, copied out of its ring."""

    kind: int
    seq: int
    header: bytes
    body: bytes


_IDENTITY = struct.Struct("<QHHHHHH")
_COMMAND = struct.Struct("<HH")
_pack_identity = _IDENTITY.pack


def pack_identity(
    processed_on: int, flags: int, queue: bytes, job_id: bytes, token: bytes, entry_id: bytes, name: bytes
) -> bytes:
    """What `JobIdentity(…).pack()` returns, for the gateway, which has no use for the tuple."""
    return (
        _pack_identity(processed_on, flags, len(queue), len(job_id), len(token), len(entry_id), len(name))
        + queue
        + job_id
        + token
        + entry_id
        + name
    )


class JobIdentity(NamedTuple):
    """Header of an activation: all that it takes to fence and give back a job without reading its body.

    The actor sends the header bytes back as they are, and keeps a copy of them in its ledger.
    """

    processed_on: int  # server's wall clock, ms
    flags: int
    queue: bytes
    job_id: bytes
    token: bytes
    entry_id: bytes
    name: bytes

    def pack(self) -> bytes:
        """As bytes, each text at most 65,535 long."""
        return pack_identity(*self)

    @classmethod
    def unpack(cls, header: bytes) -> JobIdentity:
        """The reverse of `pack`."""
        processed_on, flags, queue, job_id, token, entry_id, name = _IDENTITY.unpack_from(header)
        job_id += (queue_end := _IDENTITY.size + queue)
        token += job_id
        entry_id += token
        name += entry_id
        return cls(
            processed_on,
            flags,
            header[_IDENTITY.size : queue_end],
            header[queue_end:job_id],
            header[job_id:token],
            header[token:entry_id],
            header[entry_id:name],
        )


def pack_sequences(sequences: Sequence[int]) -> bytes:
    """The body of a BATCH."""
    return struct.pack(f"<{len(sequences)}Q", *sequences)


def unpack_sequences(body: bytes) -> tuple[int, ...]:
    """The reverse of `pack_sequences`."""
    return struct.unpack(f"<{len(body) // 8}Q", body)


class CommandHeader(NamedTuple):
    """Header of a command that a processor sends through its gateway."""

    replayable: bool
    function: bytes
    queue_key: bytes

    def pack(self) -> bytes:
        """As bytes."""
        return _COMMAND.pack(self.replayable, len(self.function)) + self.function + self.queue_key

    @classmethod
    def unpack(cls, header: bytes) -> CommandHeader:
        """The reverse of `pack`."""
        replayable, length = _COMMAND.unpack_from(header)
        end = _COMMAND.size + length
        return cls(bool(replayable), header[_COMMAND.size : end], header[end:])
