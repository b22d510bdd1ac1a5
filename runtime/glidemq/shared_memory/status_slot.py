"""What one process says about itself, and is told, in its page of the status board.

One page. Words are 8 bytes; those of different writers lie 128 bytes (two cache lines) apart:

    byte    0   supervisor's words   generation pid role control deadline_ns started_ns exit_status
    kill_reason
          128   state                the process's own; the supervisor's while no process lives in the slot
          136   the process's words  beat_ns ready_ns jobs_done jobs_failed current_seq job_started_ns held
                                     connected
          256   gateway's words      harvested_generation gateway_kill_reason
          384   sleep number         of the process's doorbell
          512   note                 length and CRC32 in one word, then up to 256 bytes of UTF-8
"""

from __future__ import annotations

import mmap
from collections.abc import Callable
from enum import IntEnum
from typing import Final, Generic, TypeVar, overload
from zlib import crc32

from glidemq.shared_memory.doorbell import Doorbell
from glidemq.shared_memory.fence import full_fence
from glidemq.shared_memory.segment import Segment

SLOT_BYTES: Final = mmap.PAGESIZE
_BELL_WORD: Final = 48
_WORDS: Final = 64
_NOTE_WORD: Final = 64
_NOTE_OFFSET: Final = 8 * (_NOTE_WORD + 1)
NOTE_BYTES: Final = 256
_NOTE_READS: Final = 8

T = TypeVar("T")


class ProcessState(IntEnum):
    """Where a process is in its life.

    EMPTY → STARTING → READY → DRAINING → DRAINED → STOPPED, and DEAD from each of them but EMPTY; DEAD →
    STARTING is the replacement. The supervisor writes EMPTY, STARTING and DEAD, the process the others.
    """

    EMPTY = 0
    STARTING = 1
    READY = 2
    DRAINING = 3
    DRAINED = 4
    STOPPED = 5
    DEAD = 6


class Control(IntEnum):
    """What the supervisor wants of a process."""

    RUN = 0
    DRAIN = 1
    STOP = 2


class ProcessRole(IntEnum):
    """What runs in the slot."""

    NONE = 0
    GATEWAY = 1
    SYNC_ACTOR = 2
    ASYNC_ACTOR = 3


class KillReason(IntEnum):
    """Why somebody sends SIGKILL; written before it is sent, so that the death can be explained."""

    NONE = 0
    HUNG = 1
    JOB_TIMEOUT = 2
    DRAIN_DEADLINE = 3
    MEMORY_LIMIT = 4
    REQUESTED = 5
    REVOKED = 6  # its job was revoked and is to end by force


class _Word(Generic[T]):
    """One word of the slot as a typed attribute."""

    __slots__ = ("_index", "_type")

    def __init__(self, index: int, decode: Callable[[int], T]) -> None:
        self._index = index
        self._type = decode

    @overload
    def __get__(self, slot: None, owner: type[StatusSlot]) -> _Word[T]: ...
    @overload
    def __get__(self, slot: StatusSlot, owner: type[StatusSlot]) -> T: ...
    def __get__(self, slot: StatusSlot | None, owner: type[StatusSlot]) -> T | _Word[T]:
        return self if slot is None else self._type(slot.words[self._index])

    def __set__(self, slot: StatusSlot, value: T) -> None:
        slot.words[self._index] = int(value)  # type: ignore[call-overload]


class StatusSlot:
    """One process's page of the status board: typed words, each with a single writer.

    Times ending in `_ns` are `time.monotonic_ns()`, which all processes of a host share; 0 means "not yet".
    Owns: nothing. Written by: see each field. Read by: every process that maps the page.
    Stops when: its segment is closed.
    """

    __slots__ = ("_bell_word", "_text", "words")

    generation = _Word(0, int)
    """Forks into this slot, from 1. Written by: supervisor, before each fork."""
    pid = _Word(1, int)
    """Process id, 0 while there is none. Written by: supervisor, after the fork and after the reaping."""
    role = _Word(2, ProcessRole)
    """What runs here. Written by: supervisor, before the fork."""
    control = _Word(3, Control)
    """What the process shall do. Written by: supervisor, who rings the process afterwards."""
    deadline_ns = _Word(4, int)
    """Until when a drain may take, 0 for no limit. Written by: supervisor, before `control`."""
    started_ns = _Word(5, int)
    """When the process was forked. Written by: supervisor."""
    kill_reason = _Word(7, KillReason)
    """Why the supervisor kills the process. Written by: supervisor, before SIGKILL."""

    state = _Word(16, ProcessState)
    """Written by: the process; before the fork and after the reaping, the supervisor."""
    beat_ns = _Word(17, int)
    """Last turn of the loop that does the work. Written by: that loop, never a side thread."""
    ready_ns = _Word(18, int)
    """When the process became READY. Written by: the process."""
    jobs_done = _Word(19, int)
    """Jobs finished since the fork, failed ones included. Written by: the actor process."""
    jobs_failed = _Word(20, int)
    """Jobs whose processor raised since the fork. Written by: the actor process."""
    current_seq = _Word(21, int)
    """Sequence of the job started last that still runs, 0 for none. Written by: the actor process."""
    job_started_ns = _Word(22, int)
    """When that job started. Written by: the actor process."""
    held = _Word(23, int)
    """Jobs in the process's hands: an actor's taken and started ones, a gateway's whole cell. Written by:
    the process.
    """
    connected = _Word(24, int)
    """1 while the server answers. Written by: the gateway."""

    harvested_generation = _Word(32, int)
    """The last generation whose jobs are accounted for and whose rings are reset. Written by: gateway."""
    gateway_kill_reason = _Word(33, KillReason)
    """Why the gateway kills this actor. Written by: gateway, before SIGKILL."""

    def __init__(self, segment: Segment, offset: int) -> None:
        self.words = segment.words(offset, _WORDS + 1)
        self._bell_word = segment.words(offset + 8 * _BELL_WORD, 1)
        self._text = segment.view(offset + _NOTE_OFFSET, NOTE_BYTES)

    def bell(self, fd: int) -> Doorbell:
        """The doorbell of this slot's process: `fd` is its eventfd, the sleep number lies in this page."""
        return Doorbell(fd, self._bell_word)

    @property
    def exit_status(self) -> int | None:
        """How the last process ended, as `os.waitpid` said; None if none has. Written by: supervisor."""
        stored: int = self.words[6]
        return stored - 1 if stored else None

    @exit_status.setter
    def exit_status(self, wait_status: int | None) -> None:
        self.words[6] = 0 if wait_status is None else wait_status + 1

    def begin(self, generation: int, role: ProcessRole, now_ns: int) -> None:
        """Make the slot ready for a fork (supervisor, while no process lives in it).

        Keeps what outlives a process: the harvested generation and the sleep number.
        """
        self.set_note("")
        words = self.words
        for index in (1, 3, 4, 6, 7, *range(17, 32), 33):
            words[index] = 0
        self.generation = generation
        self.role = role
        self.started_ns = now_ns
        self.state = ProcessState.STARTING

    def set_note(self, text: str) -> None:
        """Say what the process is doing, in up to 256 bytes. Written by: the process."""
        data = text.encode()[:NOTE_BYTES]
        self._text[: len(data)] = data
        self.words[_NOTE_WORD] = len(data) << 32 | crc32(data)

    @property
    def note(self) -> str:
        """What the process says it is doing; empty if nothing, or while that changes all the time."""
        for _ in range(_NOTE_READS):
            word: int = self.words[_NOTE_WORD]
            data = bytes(self._text[: min(word >> 32, NOTE_BYTES)])
            if crc32(data) == word & 0xFFFFFFFF:
                return data.decode(errors="replace")
            full_fence()
        return ""


__all__ = [
    "NOTE_BYTES",
    "SLOT_BYTES",
    "Control",
    "KillReason",
    "ProcessRole",
    "ProcessState",
    "StatusSlot",
]
