"""Processes as the kernel shows them: who is alive, in which state, with which files."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable
from pathlib import Path


def state_of(pid: int) -> str | None:
    """The kernel's letter for the state of a process; None when there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return stat[stat.rindex(")") + 2]


def is_gone(pid: int) -> bool:
    """True for a process that does not exist, or only as a zombie."""
    return state_of(pid) in (None, "Z", "X")


def processes_with(variable: str, value: str) -> list[int]:
    """Every living process that was started with this variable in its environment, but for this one."""
    mark = f"{variable}={value}\0".encode()
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if mark in (entry / "environ").read_bytes() and not is_gone(int(entry.name)):
                    found.append(int(entry.name))
    return found


def memory_files_of(pids: Iterable[int]) -> set[tuple[int, int]]:
    """(device, inode) of every anonymous memory file (memfd) that these processes have open or mapped."""
    found: set[tuple[int, int]] = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            for entry in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    if str(entry.readlink()).startswith("/memfd:"):
                        status = entry.stat()
                        found.add((status.st_dev, status.st_ino))
    return found


def holders_of(files: set[tuple[int, int]]) -> list[int]:
    """The processes, wherever they are, that have one of these files open."""
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [pid for pid in pids if files & memory_files_of([pid])]


def send(pids: Iterable[int], number: signal.Signals) -> None:
    """Signal processes that may be gone already."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
