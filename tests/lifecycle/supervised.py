"""A supervisor under test: started, directed, watched from outside, and certainly gone afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from tests.lifecycle.stand_ins import DIRECTORY_VARIABLE

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]
# Nothing listens there, and the stand-ins do not try.
NOWHERE = "valkey://127.0.0.1:9"
PATIENCE_S = 20.0


def wait_until(condition: Callable[[], T], what: str, timeout_s: float = PATIENCE_S) -> T:
    """The first true value of `condition`; fails with `what` when there is none in time."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s:g} s: {what}")
        time.sleep(0.005)


class Entry(NamedTuple):
    """One line of the stand-ins' journal."""

    time: float
    pid: int
    label: str
    event: str
    details: list[Any]


class Supervised:
    """A supervisor over stand-ins. Owns: the process tree, found by its environment, and its directory."""

    def __init__(self, directory: Path, **settings: Any) -> None:
        self.directory = directory
        (directory / "orders").mkdir(parents=True, exist_ok=True)
        self.settings: dict[str, Any] = {
            "app": "stand:in", "url": NOWHERE, "procs": 2, "beat": 0.05, "drain_timeout": 10.0, **settings,
        }  # fmt: skip
        self.process: subprocess.Popen[bytes] | None = None
        if not (directory / "app.json").exists():
            self.write_app()

    # -- life ------------------------------------------------------------------------------------------------

    def start(self, **extra_environment: str) -> Supervised:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GLIDEMQ_")}
        environment |= {DIRECTORY_VARIABLE: str(self.directory), **extra_environment}
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.lifecycle.run_supervisor", json.dumps(self.settings)],
                cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        return self

    def started(self, **extra_environment: str) -> Supervised:
        """Start, and wait until everything is up."""
        self.start(**extra_environment)
        self.wait_for_log("ready: ")
        return self

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def wait(self, timeout_s: float = PATIENCE_S) -> int:
        """The exit status."""
        assert self.process is not None
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"the supervisor did not end within {timeout_s:g} s:\n{self.log()}"
            ) from None

    def tree(self) -> list[int]:
        """Every living process that inherited this test's environment, no zombies, with the supervisor."""
        mark = f"{DIRECTORY_VARIABLE}={self.directory}\0".encode()
        found: list[int] = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                with contextlib.suppress(OSError):
                    if mark in (entry / "environ").read_bytes() and state_of(int(entry.name)) != "Z":
                        found.append(int(entry.name))
        return found

    def clean_up(self) -> None:
        """SIGKILL whatever is left, the supervisor first so that it replaces nobody."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        for pid in self.tree():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
                os.kill(pid, signal.SIGKILL)

    # -- directing -------------------------------------------------------------------------------------------

    def write_app(self, **settings: Any) -> None:
        """What the stand-in app is from its next import on."""
        draft = self.directory / "app.json.new"
        draft.write_text(json.dumps(settings))
        draft.replace(self.directory / "app.json")

    def order(self, label: str, *words: object) -> None:
        """Give an order to the process `label` and wait until it has taken it."""
        self.prepare(label, *words)
        wait_until(lambda: not (self.directory / "orders" / label).exists(), f"{label} takes its order")

    def prepare(self, label: str, *words: object) -> None:
        """Leave an order for processes to come: `label`-start for one of them, `label`-always for all."""
        draft = self.directory / f"order-{label}"
        draft.write_text(" ".join(map(str, words)))
        draft.replace(self.directory / "orders" / label)

    # -- watching --------------------------------------------------------------------------------------------

    def log(self) -> str:
        return (self.directory / "log").read_text()

    def wait_for_log(self, text: str, timeout_s: float = PATIENCE_S) -> str:
        """The first log line that contains `text`."""

        def found() -> str | None:
            ended = self.process is not None and self.process.poll() is not None
            lines = [line for line in self.log().splitlines() if text in line]
            if not lines and ended:
                raise AssertionError(f"the supervisor ended without logging {text!r}:\n{self.log()}")
            return lines[0] if lines else None

        try:
            return wait_until(found, f"a log line with {text!r}", timeout_s) or ""
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log()}") from None

    def journal(self, label: str | None = None, event: str | None = None) -> list[Entry]:
        """What the stand-ins wrote, oldest first."""
        try:
            lines = (self.directory / "journal").read_text().splitlines()
        except FileNotFoundError:
            return []
        entries = [Entry(row[0], row[1], row[2], row[3], row[4:]) for row in map(json.loads, lines)]
        return [
            entry
            for entry in entries
            if (label is None or entry.label == label) and (event is None or entry.event == event)
        ]

    def wait_for(self, label: str, event: str, count: int = 1) -> Entry:
        """The `count`-th such entry of the journal."""
        try:
            return wait_until(
                lambda: self.journal(label, event)[count - 1 :], f"{label} {event}, {count} times"
            )[0]
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log()}") from None

    def pid_of(self, label: str) -> int:
        """The process that started last as `label`."""
        return self.journal(label, "started")[-1].pid


def state_of(pid: int) -> str | None:
    """The kernel's letter for the state of a process; None when there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return stat[stat.rindex(")") + 2]


def is_gone(pid: int) -> bool:
    return state_of(pid) in (None, "Z")
