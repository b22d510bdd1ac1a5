"""The keeper of an embedded server: its parent process, which stops it when nobody holds it any more.

Run as `python keeper.py DIRECTORY BINARY LOCK_FD` by whoever starts the server, and detached from it. Only
the standard library is imported, so that it starts in a few milliseconds and stays small.

Two locks, both `flock`, so that the kernel releases them however a process dies, and a power cut leaves none:

    holders      shared by every process that uses the server; the keeper waits for the exclusive lock, which
    it gets when nobody is left, and keeps to its end, so that newcomers wait until the old server is gone
    server.lock  exclusive, taken by a starter, handed to the keeper and by it to the server as an open
    descriptor: it is free exactly when neither of the two is alive, so there is never a second server
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import select
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import FrameType

HOLDERS = "holders"
SERVER_LOCK = "server.lock"
ENDPOINT = "endpoint"  # the path of the server's socket
PIDS = "pids"  # the keeper's and the server's, for people
SOCKET = "valkey.sock"
KEEPER_LOG = "keeper.log"
SERVER_LOG = "valkey.log"

# sockaddr_un.sun_path, with its final zero byte.
LONGEST_SOCKET_PATH = 107
_SHORT_PREFIX = "glidemq-"
_PR_SET_PDEATHSIG = 1
# A server that must write a large file before it exits is given this long; its data is in the append-only
# file.
_STOP_TIMEOUT_S = 10.0

SERVER_OPTIONS = (
    "--port", "0",  # no TCP at all: whoever may open the socket may use the server
    "--unixsocketperm", "700",
    "--save", "",
    "--appendonly", "yes",
    "--appendfsync", "everysec",
    # A job of 100 bytes takes 306 bytes instead of 653, at no cost in time.
    "--hash-max-listpack-value", "1024",
    "--maxmemory-policy", "noeviction",
    "--daemonize", "no",
)  # fmt: skip


class Keeper:
    """Starts the server, waits for the end of its use or of itself, and cleans up.

    Owns: the valkey-server child, the socket, the endpoint and pid files. Stops when: nobody holds `holders`,
    on SIGTERM, or when the server exits.
    """

    def __init__(self, directory: Path, binary: str, lock_fd: int) -> None:
        self._directory = directory
        self._binary = binary
        self._lock_fd = lock_fd
        # Told that it is time to stop: written by the thread that waits for the lock, and by SIGTERM.
        self._stop_read, self._stop_write = os.pipe()
        os.set_blocking(self._stop_write, False)
        self._socket = socket_path(directory)

    def run(self) -> int:
        signal.set_wakeup_fd(self._stop_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, _leave_it_to_the_wakeup_fd)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        write_atomically(self._directory / ENDPOINT, f"{self._socket}\n")
        server = self._start_server()
        write_atomically(self._directory / PIDS, f"keeper {os.getpid()}\nserver {server.pid}\n")
        threading.Thread(target=self._wait_for_the_last_holder, daemon=True).start()
        stopped = self._wait(server)
        if stopped:
            self._stop_server(server)
            self._forget_socket()
            return 0
        # It died by itself: the endpoint stays, so that a successor uses the same path and clients reconnect.
        log(f"valkey-server {server.pid} exited with status {server.returncode}")
        return 1

    def _start_server(self) -> subprocess.Popen[bytes]:
        rotate(self._directory / SERVER_LOG)
        libc = ctypes.CDLL(None)  # before the fork
        keeper = os.getpid()

        def die_with_keeper() -> None:
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != keeper:
                os._exit(1)

        return subprocess.Popen(  # noqa: S603 - our own binary and options
            [
                self._binary, *SERVER_OPTIONS, "--unixsocket", str(self._socket),
                "--dir", str(self._directory), "--logfile", str(self._directory / SERVER_LOG),
            ],
            pass_fds=(self._lock_fd,), preexec_fn=die_with_keeper, cwd=self._directory,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def _wait_for_the_last_holder(self) -> None:
        holders = os.open(self._directory / HOLDERS, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(holders, fcntl.LOCK_EX)  # kept open, and locked, to the end of this process
        os.write(self._stop_write, b"\0")

    def _wait(self, server: subprocess.Popen[bytes]) -> bool:
        """True when it is time to stop, False when the server is dead."""
        server_fd = os.pidfd_open(server.pid)
        poll = select.poll()
        poll.register(server_fd, select.POLLIN)
        poll.register(self._stop_read, select.POLLIN)
        ready = {fd for fd, _ in poll.poll()}
        os.close(server_fd)
        if server_fd in ready:
            server.wait()
            return False
        return True

    def _stop_server(self, server: subprocess.Popen[bytes]) -> None:
        server.terminate()  # writes the append-only file to disk and exits
        try:
            server.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()

    def _forget_socket(self) -> None:
        for path in (self._socket, self._directory / ENDPOINT, self._directory / PIDS):
            path.unlink(missing_ok=True)
        if is_own_short_directory(self._socket.parent):
            shutil.rmtree(self._socket.parent, ignore_errors=True)


def _leave_it_to_the_wakeup_fd(_number: int, _frame: FrameType | None) -> None:
    """A handler must exist for the wake-up descriptor to be written."""


def socket_path(directory: Path) -> Path:
    """Where the socket goes: into the directory, or if that path is too long, into a short private one.

    A path that a keeper which was killed has left in the endpoint file is used again.
    """
    path = directory / SOCKET
    if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
        return path
    with contextlib.suppress(OSError, ValueError):
        recorded = Path((directory / ENDPOINT).read_text(encoding="utf-8").rstrip("\n"))
        if is_own_short_directory(recorded.parent):
            return recorded
    # A fresh random name, made 0700: nobody else can have prepared it.
    roots = [root for root in (os.environ.get("XDG_RUNTIME_DIR"), "/tmp") if root]  # noqa: S108
    for root in roots:
        if len(os.fsencode(root)) < LONGEST_SOCKET_PATH - 40:
            with contextlib.suppress(OSError):
                return Path(tempfile.mkdtemp(prefix=_SHORT_PREFIX, dir=root)) / SOCKET
    raise OSError(
        f"no place for a Unix socket: {path} is too long and none of {', '.join(roots)} can be used"
    )


def is_own_short_directory(path: Path) -> bool:
    """Whether a directory is one that `socket_path` made, as far as its name, owner and mode tell."""
    try:
        status = path.lstat()
    except OSError:
        return False
    return (
        path.name.startswith(_SHORT_PREFIX)
        and stat.S_ISDIR(status.st_mode)
        and status.st_uid == os.geteuid()
        and stat.S_IMODE(status.st_mode) == 0o700
    )


def log(message: str) -> None:
    """Write to the keeper's log, which is its standard output."""
    sys.stdout.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {message}\n")
    sys.stdout.flush()


def write_atomically(path: Path, text: str) -> None:
    """Replace a small file so that readers see the old or the new content."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def rotate(log: Path, limit: int = 1 << 20) -> None:
    """Keep one old log, so that logs stay bounded."""
    with contextlib.suppress(OSError):
        if log.stat().st_size > limit:
            log.replace(log.with_name(f"{log.name}.1"))


def main(arguments: list[str]) -> int:
    """Detach from whoever starts the server, and keep it."""
    directory, binary, lock_fd = Path(arguments[0]), arguments[1], int(arguments[2])
    os.umask(0o077)
    if os.fork():  # so that the starter has no child left to reap, nor one that it might wait for
        return 0
    try:
        return Keeper(directory, binary, lock_fd).run()
    except OSError as error:
        log(f"cannot keep a server: {error}")
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
