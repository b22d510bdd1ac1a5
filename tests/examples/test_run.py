"""The whole example as a user runs it: supervisor, producer, embedded server, terminal or none, Ctrl-C."""

from __future__ import annotations

import contextlib
import io
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from glidemq.commands.keys import QueueKeys
from glidemq.examples.stdlib_metrics.measure import stdlib_files
from glidemq.examples.stdlib_metrics.plain_loop import run_plain_loop
from glidemq.examples.stdlib_metrics.processors import QUEUE
from glidemq.examples.stdlib_metrics.run import run_through_queue, sample
from glidemq.examples.stdlib_metrics.summary import Totals
from tests.testkit.process_tree import processes_with
from tests.testkit.server import ValkeyServer
from tests.testkit.waiting import wait_until

MARK = "EXAMPLE_UNDER_TEST"
KEYS = QueueKeys("glide", QUEUE)
SOME = 40


def _log_in(terminal: int) -> None:
    """As a login shell would: ctrl-C works, even where the test runner itself was started in the background."""
    os.login_tty(terminal)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Terminal:
    """One run of the example on a terminal of its own.

    Owns: the process, which leads the terminal's session, and both ends of the terminal. Stops when: closed.
    """

    def __init__(self, directory: Path, *arguments: str, **environment: str) -> None:
        self._output = b""
        self._end, terminal = os.openpty()
        self.process = subprocess.Popen(
            command(*arguments),
            cwd=directory,
            env=clean_environment(directory, **environment, TERM="xterm", COLUMNS="100"),
            preexec_fn=lambda: _log_in(terminal),
            close_fds=False,
        )
        os.close(terminal)
        os.set_blocking(self._end, False)

    def type(self, keys: bytes) -> None:
        """What a user types."""
        os.write(self._end, keys)

    def output(self) -> str:
        """Everything that the terminal has shown so far."""
        with contextlib.suppress(BlockingIOError, OSError):  # EIO: the other end is closed
            while chunk := os.read(self._end, 65536):
                self._output += chunk
        return self._output.decode(errors="replace")

    def exit_status(self) -> int:
        """Read on until the process ends; a full terminal would hold it up."""

        def ended() -> bool:
            self.output()
            return self.process.poll() is not None

        wait_until(ended, "the example ends")
        assert self.process.returncode is not None
        return self.process.returncode

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._end)


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "glidemq.examples.stdlib_metrics", "--procs", "2", *arguments]


def clean_environment(directory: Path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GLIDEMQ_")}
    return {**kept, MARK: str(directory), **more}


def nothing_is_left(directory: Path) -> None:
    wait_until(lambda: not processes_with(MARK, str(directory)), "every process of the example is gone")
    wait_until(lambda: not processes_naming(directory), "the embedded server is gone")
    assert [path for path in directory.rglob("*") if path.is_socket()] == []


def processes_naming(directory: Path) -> list[int]:
    """Processes with the directory in their command line: the embedded server and its keeper."""
    found: list[int] = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if bytes(directory) in file.read_bytes():
                found.append(int(file.parent.name))
    return found


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """Where the example runs, and where the embedded server has its data; nobody survives the test."""
    yield tmp_path
    for pid in processes_with(MARK, str(tmp_path)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


async def test_totals_equal_those_of_a_plain_loop(
    own_server: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLIDEMQ_URL", own_server.url)
    files = stdlib_files()
    odd = [path for path in files if "bad" in path or "py2" in path]  # some of them cannot be parsed
    paths = sorted({*sample(files, SOME), *odd})

    queued, status = await run_through_queue(paths, "2", Console(file=io.StringIO()))

    assert (status, queued.failures) == (0, [])
    totals = Totals.of(queued.records)
    assert totals == Totals.of(run_plain_loop(paths).records)
    assert totals.files == len(paths)
    assert totals.unparsed > 0 or not odd
    client = own_server.client()
    assert client.zcard(KEYS.completed) == len(paths)
    assert client.zcard(KEYS.failed) == client.xlen(KEYS.stream) == 0
    client.close()


def test_without_a_terminal_it_prints_plain_lines_and_leaves_nothing(directory: Path) -> None:
    done = subprocess.run(
        command("--limit", str(SOME)),
        cwd=directory,
        env=clean_environment(directory),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=90,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert "\x1b" not in done.stdout
    assert f"the embedded Valkey server with its data in {directory}/.glidemq" in done.stdout
    totals = Totals.of(run_plain_loop(sample(stdlib_files(), SOME)).records)
    for name, value in {
        "files": f"{SOME}",
        "bytes": f"{totals.size:,}",
        "functions": f"{totals.functions:,}",
        "SHA-256 of all": totals.digest[:16],
    }.items():
        assert re.search(rf"^│ {re.escape(name)} +│ +{re.escape(value)} │$", done.stdout, re.MULTILINE), name
    assert re.search(rf"^glidemq +{SOME} jobs in [\d.]+ s: [\d,]+ jobs/s$", done.stdout, re.MULTILINE)
    assert re.search(r"^[\d.]+ times the rate of one process; both totals agree$", done.stdout, re.MULTILINE)
    nothing_is_left(directory)


def test_on_a_terminal_it_draws_progress_and_ctrl_c_takes_the_jobs_back(
    directory: Path, own_server: ValkeyServer
) -> None:
    client = own_server.client()
    terminal = Terminal(directory, GLIDEMQ_URL=own_server.url)
    try:
        wait_until(
            lambda: client.zcard(KEYS.completed) > 0 and "measured" in terminal.output(), "work goes on"
        )
        terminal.type(b"\x03")

        assert terminal.exit_status() == 130
    finally:
        terminal.close()
    assert "interrupted; the supervisor has stopped and the jobs are taken back" in terminal.output()
    assert "\x1b[" in terminal.output()
    # What ran was finished, what waited was removed.
    finished = int(client.zcard(KEYS.completed))
    assert 0 < finished < len(stdlib_files())
    assert client.xlen(KEYS.stream) == client.zcard(KEYS.failed) == 0
    assert len(list(client.scan_iter(KEYS.job("*"), count=1000))) == finished
    nothing_is_left(directory)
    client.close()


def test_supervisor_and_server_end_when_the_example_is_killed(directory: Path) -> None:
    terminal = Terminal(directory)
    try:
        wait_until(lambda: "ready:" in terminal.output(), "all processes are up")
        assert len(processes_with(MARK, str(directory))) > 4
    finally:
        terminal.close()  # SIGKILL
    nothing_is_left(directory)


def test_server_that_is_not_there_is_named_in_one_line(directory: Path) -> None:
    url = "valkey://127.0.0.1:9?request_timeout=0.2&request_deadline=0.2"
    done = subprocess.run(
        command(), cwd=directory, env=clean_environment(directory, GLIDEMQ_URL=url),
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert "127.0.0.1:9 cannot be reached" in done.stdout.splitlines()[-1]
    assert "Traceback" not in done.stdout + done.stderr
    nothing_is_left(directory)


@pytest.mark.parametrize("limit", ["0", "-3", "many"])
def test_limit_must_be_a_positive_number(directory: Path, limit: str) -> None:
    done = subprocess.run(
        command("--limit", limit),
        cwd=directory,
        env=clean_environment(directory),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert f"invalid positive value: {limit!r}" in done.stderr.replace('"', "'")
