"""What every benchmark stands on: a private server, and the processes that work against it."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import valkey

from glidemq.embedded.binary import find_binary
from glidemq_bench.measuring import wait_until

NODE_DIRECTORY = Path(__file__).resolve().parents[1] / "node"
_PR_SET_PDEATHSIG = 1
_STOP_S = 40.0


class Workbench:
    """One valkey-server on loopback, and the processes that work against it.

    Owns: the server, its directory, every process started with `spawn`.
    Stops when: the `with` block ends, however it ends; a killed benchmark takes its children along.
    """

    def __init__(self, *, append_only: bool = False) -> None:
        self._append_only = append_only
        self._directory = Path(tempfile.mkdtemp(prefix="glidemq-bench-"))
        self._children: list[subprocess.Popen[bytes]] = []
        self.port = _free_port()
        self.url = f"valkey://127.0.0.1:{self.port}"
        # A valkey.Valkey, which is annotated too loosely to be of use to a type checker.
        self.client: Any = valkey.Valkey(port=self.port)
        self._server: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Workbench:
        options = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": str(self._directory),
            "save": "",
            "appendonly": "yes" if self._append_only else "no",
            "appendfsync": "everysec",
            "hash-max-listpack-value": "1024",
            "logfile": str(self._directory / "valkey.log"),
        }
        self._server = self.spawn(
            [find_binary(), *(part for k, v in options.items() for part in (f"--{k}", v))]
        )
        wait_until(self._answers, 10, "the server's first answer")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in reversed(self._children):  # the server, started first, goes last
            self.stop(child)
        self.client.connection_pool.disconnect()
        shutil.rmtree(self._directory, ignore_errors=True)

    @property
    def server_pid(self) -> int:
        """Process id of the server; valid inside the `with` block."""
        assert self._server is not None
        return self._server.pid

    def spawn(self, command: Sequence[str], **environment: str) -> subprocess.Popen[bytes]:
        """Start a process that ends with this benchmark at the latest; only its errors are shown."""
        child = subprocess.Popen(
            command,
            env={**os.environ, **environment},
            cwd=NODE_DIRECTORY if command[0] == "node" else None,
            stdout=subprocess.DEVNULL,
            preexec_fn=_die_with_parent,
        )
        self._children.append(child)
        return child

    def supervisor(self, app: str, *, procs: int = 2) -> subprocess.Popen[bytes]:
        """Start `glidemq-supervisor` with an app of `workloads`, logging warnings and worse only."""
        command = [sys.executable, "-m", "glidemq_supervisor", f"glidemq_bench.workloads:{app}"]
        return self.spawn([*command, "--procs", str(procs), "--log-level", "warning"], GLIDEMQ_URL=self.url)

    def produce(self, queue: str, jobs: int, **options: str | float) -> None:
        """Run our producer to its end; `options` are its flags."""
        flags = [
            part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", str(value))
        ]
        command = [
            sys.executable,
            "-m",
            "glidemq_bench.producer",
            "--queue",
            queue,
            "--jobs",
            str(jobs),
            *flags,
        ]
        self._run([*command, "--url", self.url])

    def produce_bullmq(self, queue: str, jobs: int, **options: str | float) -> None:
        """Run BullMQ's producer to its end; `options` are its flags."""
        flags = [
            part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", str(value))
        ]
        self._run(
            ["node", "producer.mjs", "--port", str(self.port), "--queue", queue, "--jobs", str(jobs), *flags]
        )

    def bullmq_worker(self, queue: str, *, record_start: bool = False) -> subprocess.Popen[bytes]:
        """Start BullMQ's worker: one process, concurrency 50."""
        command = ["node", "worker.mjs", "--port", str(self.port), "--queue", queue, "--concurrency", "50"]
        return self.spawn([*command, "--record-start"] if record_start else command)

    def stop(self, child: subprocess.Popen[bytes]) -> None:
        """SIGTERM, then SIGKILL for what does not end by itself."""
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

    def _run(self, command: Sequence[str]) -> None:
        child = self.spawn(command)
        if child.wait() != 0:
            raise RuntimeError(f"{command[0]} {command[1]} failed with exit status {child.returncode}")
        self._children.remove(child)

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except valkey.ConnectionError:
            return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
