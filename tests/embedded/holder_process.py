"""Other processes that hold an embedded server, and looks at what is left of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from glidemq.embedded import keeper

_HOLD = """
import sys
from glidemq.embedded import EmbeddedServer
server = EmbeddedServer.acquire(sys.argv[1])
server.wait_ready(20)
print("ready", flush=True)
sys.stdin.read()
server.release()
"""


class HolderProcess:
    """A child process that acquires the server of a directory and lets go when told, or when killed."""

    def __init__(self, directory: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _HOLD, str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def wait_ready(self) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n"

    def let_go(self) -> None:
        self.process.communicate()
        assert self.process.returncode == 0

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


def pids(directory: Path) -> dict[str, int]:
    """The keeper's and the server's process ids, as the directory records them."""
    lines = (directory / keeper.PIDS).read_text().split("\n")
    return {role: int(pid) for role, pid in (line.split() for line in lines if line)}


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def processes_of(directory: Path) -> list[int]:
    """Every process whose working directory this is: keepers and servers."""
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                working_directory = (entry / "cwd").readlink()
            except OSError:
                continue
            if working_directory == directory and alive(int(entry.name)):
                found.append(int(entry.name))
    return found


def wait_until(condition: Callable[[], bool], timeout_s: float = 10.0) -> float:
    """Seconds until a condition held."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < timeout_s, "the condition did not come true in time"
        time.sleep(0.005)
    return time.monotonic() - started


def stopped(directory: Path) -> bool:
    """Whether no process and no socket is left."""
    left = [keeper.ENDPOINT, keeper.PIDS, keeper.SOCKET]
    return not processes_of(directory) and not any((directory / name).exists() for name in left)


def kill_everything(directory: Path) -> None:
    """What a power cut leaves: files, no processes, no locks."""
    for pid in processes_of(directory):
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not processes_of(directory))
