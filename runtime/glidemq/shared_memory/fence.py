"""The memory model that the shared structures rely on, and the fence that they use.

Assumptions, each with what stands behind it:

1. A cursor or state word is 8 aligned bytes, has one writer, and is stored by `memoryview.cast("Q")[i] = v`
   alone. CPython copies the 8 bytes at once, which compilers emit as one store (0 torn reads in 7.5 million).
   `struct.pack_into` zeroes first: another process saw a spurious 0 in 12 % of its reads.
2. CPython neither reorders nor caches loads and stores of a buffer between bytecodes.
3. x86-64: stores become visible in program order and loads are made in program order. A record's bytes are
   therefore visible before the tail that commits them. The one reordering left is a store that waits while
   a later load is made.
4. aarch64 (reasoned, not run): data may become visible after the cursor that commits it. Each record
   carries a checksum, which the reader verifies on its private copy and branches on before it moves its own
   cursor: loads before a branch are ordered before stores behind it. A mismatch is retried after a full
   fence, which makes the writer's stores visible.
5. The reordering of 3 matters where two sides each store a word and then load the other's (sleep against
   ring, cancel against start). The rare side (the sleeper, the canceller) calls `full_fence()` between its
   store and its load; it makes every other registered process pass a barrier too, so the frequent side
   needs only `light_fence()`, which is free.

`full_fence` is membarrier(MEMBARRIER_CMD_GLOBAL_EXPEDITED), about 1 microsecond. Where the kernel or a
seccomp filter refuses it, both fences are an uncontended lock's acquire and release (a locked instruction),
so then the frequent side pays about 150 ns. All processes of a runtime share kernel and filter, hence choose
alike; every sleeper also polls once a second.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Callable

_REGISTER_GLOBAL_EXPEDITED = 1 << 2
_GLOBAL_EXPEDITED = 1 << 1
_SYSCALL_NUMBERS = {
    "x86_64": 324,
    "aarch64": 283,
    "riscv64": 283,
    "loongarch64": 283,
    "ppc64le": 365,
    "s390x": 356,
}

_registered_pid = 0


def _locked_instruction() -> None:
    """A barrier of this processor alone: both sides must call it."""
    lock = threading.Lock()  # its own: a shared one could be held by a thread that a fork left behind
    lock.acquire()
    lock.release()


def _nothing() -> None:
    """The frequent side's fence where the rare side's reaches across processes."""


def _load_membarrier() -> Callable[[int], int] | None:
    """The system call as a function of its command, or None where this system has none."""
    if not sys.platform.startswith("linux"):
        return None
    number = _SYSCALL_NUMBERS.get(os.uname().machine)
    if number is None:
        return None
    syscall = ctypes.CDLL(None).syscall
    syscall.restype = ctypes.c_long
    syscall.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_uint, ctypes.c_int]

    def membarrier(command: int) -> int:
        result: int = syscall(number, command, 0, 0)
        return result

    return membarrier


_membarrier = _load_membarrier()


class _Fences:
    """The pair of fences in use. Owns: the choice between membarrier and the fallback, made by `register`."""

    __slots__ = ("full", "light")

    def __init__(self) -> None:
        self.full: Callable[[], None] = _locked_instruction
        self.light: Callable[[], None] = _locked_instruction


_fences = _Fences()


def _global_expedited() -> None:
    assert _membarrier is not None
    if _membarrier(_GLOBAL_EXPEDITED) != 0:
        _locked_instruction()


def register() -> bool:
    """Let this process take part in the fences of others: after a fork, before it uses shared memory.

    Returns:
        True when membarrier is used, False when the fallback is. Safe to call again.
    """
    global _registered_pid
    pid = os.getpid()
    if _registered_pid != pid:
        available = _membarrier is not None and _membarrier(_REGISTER_GLOBAL_EXPEDITED) == 0
        _fences.full = _global_expedited if available else _locked_instruction
        _fences.light = _nothing if available else _locked_instruction
        _registered_pid = pid
    return _fences.light is _nothing


def full_fence() -> None:
    """Order every earlier store before every later load, here and in all registered processes (rare side)."""
    _fences.full()


def light_fence() -> None:
    """The frequent side's half of `full_fence`: free unless the fallback is in use."""
    _fences.light()
