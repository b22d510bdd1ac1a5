"""What processors did, written by themselves: an append-only history that survives whatever kills them."""

from __future__ import annotations

import json
import os
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

DIRECTORY_VARIABLE = "EFFECTS_DIRECTORY"


class RunningJob(Protocol):
    """What is written down of a job; both kinds of job have it."""

    id: str
    attempts_made: int
    token: bytes

    @property
    def queue_name(self) -> str: ...


class EffectsWriter:
    """The history of one process, a file of its own that is opened for appending at the first record.

    One `write` a record: a process that is killed leaves whole lines. Owns: the file. Read by: `History`.
    """

    def __init__(self) -> None:
        self._fd = -1
        self._pid = 0

    def write(self, event: str, job: RunningJob, **more: Any) -> None:
        pid = os.getpid()
        if pid != self._pid:  # forked since
            self._pid = pid
            path = Path(os.environ[DIRECTORY_VARIABLE]) / f"{pid}.history"
            self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        record = {
            "event": event, "at": time.monotonic(), "pid": pid, "queue": job.queue_name, "id": job.id,
            "attempt": job.attempts_made, "token": job.token.decode(), **more,
        }  # fmt: skip
        os.write(self._fd, json.dumps(record).encode() + b"\n")

    def started(self, job: RunningJob) -> None:
        self.write("started", job)

    def finished(self, job: RunningJob) -> None:
        self.write("finished", job)


@dataclass(slots=True)
class Run:
    """One start of a job. `at` and `ended` are time.monotonic(), which all processes of a host share."""

    queue: str
    id: str
    pid: int
    attempt: int
    token: str
    at: float
    ended: float | None = None


class History:
    """What all processes of a test wrote; each look reads only what is new.

    Owns: the directory, with the gates: files that let waiting jobs go on. Written by: the processors.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self._runs: list[Run] = []
        self._open: dict[tuple[str, str, str, str], Run] = {}
        self._read_bytes: dict[Path, int] = {}

    def runs(self, queue: str | None = None) -> list[Run]:
        """Every start, oldest first."""
        for file in self.directory.glob("*.history"):
            self._read_on(file)
        self._runs.sort(key=lambda run: run.at)
        return [run for run in self._runs if queue in (None, run.queue)]

    def _read_on(self, file: Path) -> None:
        with file.open("rb") as stream:
            stream.seek(self._read_bytes.get(file, 0))
            new = stream.read()
        new = new[: new.rfind(b"\n") + 1]  # a record may be seen half written
        self._read_bytes[file] = self._read_bytes.get(file, 0) + len(new)
        for line in new.splitlines():
            record = json.loads(line)
            key = (file.name, record["queue"], record["id"], record["token"])
            if record["event"] == "started":
                run = Run(key[1], key[2], record["pid"], record["attempt"], record["token"], record["at"])
                self._open[key] = run
                self._runs.append(run)
            else:
                self._open.pop(key).ended = record["at"]

    def runs_of(self, job_id: str, queue: str | None = None) -> list[Run]:
        return [run for run in self.runs(queue) if run.id == job_id]

    def by_job(self, queue: str | None = None) -> dict[str, list[Run]]:
        """Job id → its runs, oldest first."""
        found: dict[str, list[Run]] = defaultdict(list)
        for run in self.runs(queue):
            found[run.id].append(run)
        return found

    def running(self, queue: str | None = None) -> list[Run]:
        """Runs that have not finished, those that never will included."""
        return [run for run in self.runs(queue) if run.ended is None]

    def finished(self, queue: str | None = None) -> list[Run]:
        return [run for run in self.runs(queue) if run.ended is not None]

    def open_gate(self, name: str) -> None:
        """Let every job go on that waits at this gate, now or later."""
        (self.directory / f"gate-{name}").touch()


def gate_is_open(name: str) -> bool:
    """For processors: whether the test has opened the gate."""
    return (Path(os.environ[DIRECTORY_VARIABLE]) / f"gate-{name}").exists()


def is_first(name: str) -> bool:
    """For processors: True for the first caller of all processes, and for nobody after it."""
    path = Path(os.environ[DIRECTORY_VARIABLE]) / f"once-{name}"
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError:
        return False
    return True
