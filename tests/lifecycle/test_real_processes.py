"""The whole tree as users run it: the command, real gateways and actors, a real server, real jobs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import valkey

from glidemq import Queue
from tests.lifecycle.supervised import is_gone, state_of, wait_until
from tests.testkit.server import ValkeyServer

APP = """\
import os
import time

from glidemq import App

app = App()
journal = os.open("journal", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

@app.processor("QUEUE")
def work(job):
    os.write(journal, f"{job.id} {os.getpid()}\\n".encode())
    end = time.perf_counter() + job.data["s"]
    while time.perf_counter() < end:
        pass
    return job.data["s"]
"""


class Runtime:
    """One supervisor started by its command. Owns: its process tree, found by its working directory."""

    def __init__(self, place: Path, url: str, queue: str) -> None:
        self.place = place
        self.url = url
        self.queue = queue
        self.process: subprocess.Popen[bytes] | None = None
        (place / "shop.py").write_text(APP.replace("QUEUE", queue))

    def start(self, *arguments: str, ready: bool = True) -> Runtime:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("GLIDEMQ_")}
        with (self.place / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "glidemq_supervisor", "shop:app", "--procs", "2", *arguments],
                cwd=self.place, env={**clean, "GLIDEMQ_URL": self.url}, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log,
            )  # fmt: skip
        if ready:
            self.wait_for_log("ready: ")
        return self

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def log(self) -> str:
        return (self.place / "log").read_text()

    def wait_for_log(self, text: str) -> None:
        def found() -> bool:
            assert self.process is not None
            if text not in self.log() and self.process.poll() is not None:
                raise AssertionError(f"it ended without logging {text!r}:\n{self.log()}")
            return text in self.log()

        wait_until(found, f"a log line with {text!r}")

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def wait(self) -> int:
        assert self.process is not None
        return self.process.wait(30)

    def tree(self, name: str = "") -> list[int]:
        """Living processes that run in this test's directory, those whose name begins with `name`."""
        found: list[int] = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and entry.name != str(os.getpid()):
                with contextlib.suppress(OSError):
                    here = (entry / "cwd").readlink().is_relative_to(self.place)
                    if (
                        here
                        and (entry / "comm").read_text().startswith(name)
                        and not is_gone(int(entry.name))
                    ):
                        found.append(int(entry.name))
        return found

    def runs(self) -> Counter[str]:
        """How often each job was started."""
        try:
            lines = (self.place / "journal").read_text().splitlines()
        except FileNotFoundError:
            return Counter()
        return Counter(line.split()[0] for line in lines)

    def has_run(self, jobs: int) -> bool:
        return len(self.runs()) > jobs

    def clean_up(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        for pid in self.tree():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def runtime(tmp_path: Path, server: ValkeyServer, queue_name: str) -> Iterator[Runtime]:
    runtime = Runtime(tmp_path, server.url, queue_name)
    yield runtime
    runtime.clean_up()


async def until(condition: Callable[[], Any], what: str, timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {what}"
        await asyncio.sleep(0.01)


async def until_all_completed(queue: Queue[Any, Any], count: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        counts = await queue.get_job_counts()
        if counts["completed"] + counts["failed"] >= count:
            assert counts["failed"] == 0
            assert counts["completed"] == count
            return
        assert time.monotonic() < deadline, counts
        await asyncio.sleep(0.02)


async def add(queue: Queue[Any, Any], count: int, seconds: float) -> set[str]:
    return {str(job.id) for job in await queue.add_bulk([("work", {"s": seconds})] * count)}


async def test_reload_and_scaling_under_load_run_every_job_exactly_once(runtime: Runtime) -> None:
    runtime.start("--max-procs", "3")
    async with Queue[Any, Any](runtime.queue, connection=runtime.url) as queue:
        ids = await add(queue, 800, 0.002)
        for share, number in enumerate(
            (signal.SIGHUP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGHUP), start=1
        ):
            await until(partial(runtime.has_run, 150 * share), "a share of the jobs has run")
            runtime.signal(number)
        await until_all_completed(queue, 800)
    assert set(runtime.runs()) == ids
    assert set(runtime.runs().values()) == {1}
    runtime.wait_for_log("reloaded: ")
    runtime.signal(signal.SIGTERM)
    assert runtime.wait() == 0
    assert runtime.tree() == []


@pytest.mark.exclusive
async def test_killed_gateway_loses_no_job_and_runs_none_twice(runtime: Runtime) -> None:
    runtime.start()
    async with Queue[Any, Any](runtime.queue, connection=runtime.url) as queue:
        ids = await add(queue, 600, 0.002)
        await until(lambda: len(runtime.runs()) > 100, "work has begun")
        (gateway,) = runtime.tree("gmq gateway")
        os.kill(gateway, signal.SIGKILL)
        killed, ran = time.monotonic(), len(runtime.runs())
        await until(lambda: len(runtime.runs()) > ran + 50, "work goes on", timeout_s=5.0)
        assert time.monotonic() - killed < 2.0 + 50 * 0.002
        await until_all_completed(queue, 600)
    assert set(runtime.runs()) == ids
    assert set(runtime.runs().values()) == {1}


async def test_killed_actor_costs_its_own_job_a_second_run_and_no_other(runtime: Runtime) -> None:
    runtime.start()
    async with Queue[Any, Any](runtime.queue, connection=runtime.url) as queue:
        await add(queue, 400, 0.002)
        await until(lambda: len(runtime.runs()) > 100, "work has begun")
        os.kill(runtime.tree("gmq actor")[0], signal.SIGKILL)
        await until_all_completed(queue, 400)
    assert Counter(runtime.runs().values()).keys() <= {1, 2}
    assert sum(runtime.runs().values()) <= 401


async def test_drain_deadline_gives_the_running_job_back_uncharged(
    runtime: Runtime, raw: valkey.Valkey
) -> None:
    runtime.start("--drain-timeout", "0.3")
    async with Queue[Any, Any](runtime.queue, connection=runtime.url) as queue:
        (job_id,) = await add(queue, 1, 60.0)
        await until(lambda: runtime.runs(), "the job runs")
        began = time.monotonic()
        runtime.signal(signal.SIGTERM)
        assert runtime.wait() == 0
        assert time.monotonic() - began < 0.3 + 2.0
        counts = await queue.get_job_counts()
        assert (counts["waiting"], counts["active"]) == (1, 0)
        job = await queue.get_job(job_id)
        assert job is not None
        assert job.attempts_made == 0
    assert runtime.tree() == []


async def test_killed_supervisor_leaves_no_process_and_gives_its_jobs_back(runtime: Runtime) -> None:
    runtime.start()
    async with Queue[Any, Any](runtime.queue, connection=runtime.url) as queue:
        await add(queue, 2, 60.0)
        await until(lambda: len(runtime.runs()) == 2, "both jobs run")
        runtime.signal(signal.SIGKILL)
        runtime.wait()
        await until(lambda: runtime.tree() == [], "all processes are gone", timeout_s=2.0)
        counts = await queue.get_job_counts()
        assert (counts["waiting"], counts["active"]) == (2, 0)


@pytest.mark.parametrize("procs", ["1", "3"])
def test_cell_has_two_connections_at_any_number_of_actors(
    tmp_path: Path, own_server: ValkeyServer, queue_name: str, procs: str
) -> None:
    runtime = Runtime(tmp_path, own_server.url, queue_name)
    client = own_server.client()
    try:
        runtime.start("--procs", procs)

        def names() -> list[str]:
            rows: Any = client.client_list()
            return sorted(row["name"] for row in rows if row["name"].startswith("glidemq"))

        wait_until(lambda: len(names()) == 2, "two connections")
        runtime.signal(signal.SIGTTIN)
        wait_until(lambda: len(runtime.tree("gmq actor")) == int(procs) + 1, "one more actor")
        assert names() == ["glidemq-gateway", "glidemq-reader"]
    finally:
        client.connection_pool.disconnect()
        runtime.clean_up()


def test_preloaded_app_does_its_jobs(runtime: Runtime) -> None:
    runtime.start("--preload")

    async def produce() -> None:
        async with Queue[Any, Any](runtime.queue, connection=runtime.url) as queue:
            await add(queue, 50, 0.0)
            runtime.signal(signal.SIGHUP)
            await until_all_completed(queue, 50)

    asyncio.run(produce())
    runtime.wait_for_log("reloaded: ")
    assert set(runtime.runs().values()) == {1}


def test_server_that_cannot_be_reached_ends_the_start_with_one_line(tmp_path: Path) -> None:
    runtime = Runtime(tmp_path, "valkey://127.0.0.1:9", "q")
    try:
        runtime.start("--start-timeout", "4", ready=False)
        assert runtime.wait() == 1
        problems = [line for line in runtime.log().splitlines() if " ERROR " in line or " CRITICAL " in line]
        assert len(problems) == 1
        assert "127.0.0.1:9" in problems[0]
        assert "Traceback" not in runtime.log()
        assert runtime.tree() == []
    finally:
        runtime.clean_up()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_embedded_server_lives_and_dies_with_its_supervisor(tmp_path: Path, number: signal.Signals) -> None:
    runtime = Runtime(tmp_path, f"embedded://{tmp_path}/data", "q")
    try:
        runtime.start()
        assert len(runtime.tree("valkey-server")) == 1
        (gateway,) = runtime.tree("gmq gateway")
        os.kill(gateway, signal.SIGKILL)
        wait_until(lambda: runtime.tree("gmq gateway") not in ([], [gateway]), "a new gateway")
        assert len(runtime.tree("valkey-server")) == 1
        runtime.signal(number)
        assert runtime.wait() == (0 if number is signal.SIGTERM else -signal.SIGKILL)
        wait_until(lambda: runtime.tree() == [], "nothing is left", timeout_s=3.0)
    finally:
        runtime.clean_up()


async def test_embedded_server_that_is_killed_comes_back_with_its_data(tmp_path: Path) -> None:
    runtime = Runtime(tmp_path, f"embedded://{tmp_path}/data", "q")
    try:
        runtime.start()
        async with Queue[Any, Any]("q", connection=runtime.url) as queue:
            await add(queue, 20, 0.0)
            await until_all_completed(queue, 20)
            await asyncio.sleep(1.1)  # the append-only file reaches the disk every second
            (server,) = runtime.tree("valkey-server")
            os.kill(server, signal.SIGKILL)
            await until(lambda: runtime.tree("valkey-server") not in ([], [server]), "another server")
            await add(queue, 20, 0.0)
            await until_all_completed(queue, 40)
        runtime.signal(signal.SIGTERM)
        assert runtime.wait() == 0
    finally:
        runtime.clean_up()


def test_stopped_tree_goes_on_where_it_was(runtime: Runtime) -> None:
    runtime.start()
    tree = runtime.tree()
    for pid in tree:
        os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: all(state_of(pid) == "T" for pid in tree), "all are stopped")
    for pid in tree:
        os.kill(pid, signal.SIGCONT)

    async def produce() -> None:
        async with Queue[Any, Any](runtime.queue, connection=runtime.url) as queue:
            await add(queue, 10, 0.0)
            await until_all_completed(queue, 10)

    asyncio.run(produce())
    assert sorted(runtime.tree()) == sorted(tree)
