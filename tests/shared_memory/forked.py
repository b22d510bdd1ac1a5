"""A real forked process for one test: runs a function, reports its exception, and is gone with the test."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

DEADLINE_S = 60.0


class Forked:
    """One child process. Owns: it, and the pipe on which it reports. Stops when: the `with` block ends."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._read_fd, write_fd = os.pipe()
        self.wait_status: int | None = None
        self.pid = os.fork()
        if self.pid:
            os.close(write_fd)
            return
        status = 1
        try:
            os.close(self._read_fd)
            work()
            status = 0
        except BaseException:
            os.write(write_fd, traceback.format_exc().encode()[-60_000:])
        finally:
            os._exit(status)

    def __enter__(self) -> Forked:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.kill()
        os.close(self._read_fd)

    def wait(self, deadline_s: float = DEADLINE_S) -> None:
        """Wait until the child has ended, however it did; `wait_status` then says how."""
        if not select.select([self._read_fd], [], [], deadline_s)[0]:
            self.kill()
            raise AssertionError(f"the child did not end within {deadline_s} s")
        self._reap()

    def join(self, deadline_s: float = DEADLINE_S) -> None:
        """Wait until the child has ended well; its traceback is ours otherwise."""
        self.wait(deadline_s)
        report = b""
        while piece := os.read(self._read_fd, 65536):
            report += piece
        if report or self.wait_status != 0:
            raise AssertionError(f"the child ended with status {self.wait_status}:\n{report.decode()}")

    def has_ended(self) -> bool:
        """True once the child has closed its end of the pipe."""
        return bool(select.select([self._read_fd], [], [], 0)[0])

    def kill(self) -> None:
        """SIGKILL, and reap."""
        if self.wait_status is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            self._reap()

    def _reap(self) -> None:
        if self.wait_status is None:
            self.wait_status = os.waitpid(self.pid, 0)[1]


def wait_until(condition: Callable[[], object], *, deadline_s: float = DEADLINE_S) -> None:
    """Poll until `condition()` is true."""
    deadline = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not true within {deadline_s} s: {condition}")
        time.sleep(0)


def open_descriptors() -> dict[int, str]:
    """This process's descriptors and what they refer to."""
    found: dict[int, str] = {}
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found[int(entry.name)] = str(entry.readlink())
    return found


def mappings_of(name: str) -> int:
    """How many mappings of the memory file `name` this process has."""
    return Path("/proc/self/maps").read_text().count(f"memfd:{name} ")
