"""The whole runtime under test: a real `glidemq-supervisor` over an app, watched and hurt from outside."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.testkit.effects import DIRECTORY_VARIABLE
from tests.testkit.process_tree import is_gone, processes_with, send
from tests.testkit.waiting import PATIENCE_S, eventually, wait_until

ROOT = Path(__file__).resolve().parents[2]
MARK_VARIABLE = "RUNTIME_UNDER_TEST"
_STARTED = re.compile(r"(gateway \d+|actor \d+\.\d+) started \(pid (\d+)\)")


class Runtime:
    """One supervisor process and its tree.

    Owns: the process tree, found by a variable in its environment even when its root is dead, and a log file.
    Stops when: `stop`ped by a test, or cleaned up by its fixture.
    """

    def __init__(
        self,
        directory: Path,
        app: str,
        *,
        url: str | None,
        effects: Path,
        arguments: Sequence[str] = (),
        settings: Mapping[str, object] | None = None,
    ) -> None:
        """url: the server; None for the embedded one, in `directory`. arguments: of the command line.
        settings: of `RuntimeConfig`, for what the command line has no option for.
        """
        self.directory = directory
        self._command = [sys.executable, "-m", "glidemq_supervisor", app, *arguments]
        self._environment = {
            name: value for name, value in os.environ.items() if not name.startswith("GLIDEMQ_")
        } | {MARK_VARIABLE: str(directory), DIRECTORY_VARIABLE: str(effects)}
        for name, value in (settings or {}).items():
            self._environment[f"GLIDEMQ_{name.upper()}"] = str(value)
        self.url = url or f"embedded://{self.embedded_directory}"
        self._command += ["--url", self.url]
        self.process: subprocess.Popen[bytes] | None = None
        directory.mkdir(parents=True, exist_ok=True)

    @property
    def embedded_directory(self) -> Path:
        return self.directory / "embedded"

    # -- life --------------------------------------------------------------------------------------------

    def start(self) -> Runtime:
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self._command,
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return self

    async def ready(self) -> Runtime:
        """Wait until every process of it is up, with the app as it was at first or as it was reloaded meanwhile."""
        await self.logged("processes are up")
        return self

    def stop(self, number: signal.Signals = signal.SIGTERM, within_s: float = PATIENCE_S) -> int:
        """End it in order; its exit status."""
        self.signal(number)
        return self.wait(within_s)

    def wait(self, within_s: float = PATIENCE_S) -> int:
        assert self.process is not None
        try:
            return self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the supervisor did not end within {within_s:g} s") from None

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def clean_up(self) -> None:
        """SIGKILL whatever is left, the supervisor first so that it replaces nobody, and show the log."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        left = self.tree()
        send(left, signal.SIGKILL)  # works on stopped processes too
        for pid in left:
            wait_until(lambda pid=pid: is_gone(pid), f"process {pid} ends")  # type: ignore[misc]
        if (self.embedded_directory / "pids").exists():
            self._stop_embedded_server()
        print(f"--- log of {self.directory.name}\n{self.log()}")  # pytest shows it when the test has failed

    def _stop_embedded_server(self) -> None:
        """It stops by itself when its last holder is gone; a stopped keeper would not."""
        with contextlib.suppress(FileNotFoundError):
            pids = [
                int(line.split()[1]) for line in (self.embedded_directory / "pids").read_text().splitlines()
            ]
            send(pids, signal.SIGCONT)
            for pid in pids:
                wait_until(lambda pid=pid: is_gone(pid), "the embedded server stops")  # type: ignore[misc]

    # -- its processes -----------------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        """The supervisor's."""
        assert self.process is not None
        return self.process.pid

    def pids(self) -> dict[str, int]:
        """Label ("gateway 0", "actor 0.1") → pid of the process that was started last under it."""
        return {label: int(pid) for label, pid in _STARTED.findall(self.log())}

    def pid_of(self, label: str) -> int:
        return self.pids()[label]

    @property
    def gateway(self) -> int:
        return self.pid_of("gateway 0")

    def actors(self) -> dict[str, int]:
        return {label: pid for label, pid in self.pids().items() if label.startswith("actor")}

    def tree(self) -> list[int]:
        """Every living process of the runtime, the supervisor included; the embedded server is not one of them."""
        return processes_with(MARK_VARIABLE, str(self.directory))

    def commands(self) -> set[str]:
        """The names of its processes, as `ps` shows them."""
        names: set[str] = set()
        for pid in self.tree():
            with contextlib.suppress(OSError):
                names.add(Path(f"/proc/{pid}/comm").read_text().strip())
        return names

    # -- its log -----------------------------------------------------------------------------------------

    def log(self) -> str:
        try:
            return (self.directory / "log").read_text()
        except FileNotFoundError:
            return ""

    def lines(self, text: str) -> list[str]:
        """The log lines that contain `text`."""
        return [line for line in self.log().splitlines() if text in line]

    async def logged(self, text: str, *, times: int = 1, within_s: float = PATIENCE_S) -> str:
        """The `times`-th log line that contains `text`, as soon as there is one."""

        def found() -> list[str]:
            lines = self.lines(text)[times - 1 :]
            if not lines and self.process is not None and self.process.poll() is not None:
                raise AssertionError(f"the supervisor ended without logging {text!r} {times} times")
            return lines

        return (await eventually(found, f"log line {times} with {text!r}", within_s))[0]

    async def replaced(self, label: str, pid: int, within_s: float = PATIENCE_S) -> int:
        """The pid of the process that follows `pid` under this label."""
        await eventually(lambda: self.pid_of(label) != pid, f"{label} is started again", within_s)
        return self.pid_of(label)


class Clock:
    """Measures how long a recovery took, and prints it: `pytest -s` shows the figures."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._began = time.monotonic()

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self._began

    def note(self, moment: str, at: float | None = None) -> float:
        """Seconds from the beginning until now, or until `at` (time.monotonic)."""
        seconds = (time.monotonic() if at is None else at) - self._began
        print(f"[measured] {self._what}: {moment} after {seconds:.3f} s")
        return seconds
