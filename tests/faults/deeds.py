"""What the jobs of these tests do, as their data says: {"deeds": [[name, argument, …], …]}."""

from __future__ import annotations

import asyncio
import ctypes
import hashlib
import itertools
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from glidemq.errors import UnknownOutcomeError
from glidemq.job import Job, SyncJob
from tests.testkit.effects import gate_is_open, is_first

GATE_POLL_S = 0.005


class Catastrophe(BaseException):
    """Not an Exception: nobody's handler expects it."""


# -- what both kinds of processor can do ------------------------------------------------------------------


def die(_job: Any, signal_name: str) -> None:
    """As the OOM killer, or a bug in native code, would have it."""
    os.kill(os.getpid(), signal.Signals[signal_name])


def die_once(job: Any, signal_name: str) -> None:
    if is_first(f"{job.queue_name}-{job.id}"):
        die(job, signal_name)


def read_nowhere(_job: Any) -> None:
    """A real segmentation fault."""
    ctypes.string_at(0)


def scribble_once(job: Any, pattern: int) -> None:
    """A bug in native code writes over all the memory that this process shares with its gateway."""
    if is_first(f"scribble-{job.queue_name}-{job.id}"):
        for line in Path("/proc/self/maps").read_text().splitlines():
            if "memfd:glidemq-actor" in line and "rw-s" in line:
                start, end = (int(part, 16) for part in line.split()[0].split("-"))
                ctypes.memset(start, pattern, end - start)


def end_process(_job: Any, status: int) -> None:
    os._exit(status)


def call_exit(_job: Any, status: Any) -> None:
    sys.exit(status)


def raise_base(_job: Any) -> None:
    raise Catastrophe("not even an Exception")


def interrupt(_job: Any) -> None:
    raise KeyboardInterrupt


def cancel(_job: Any) -> None:
    """What a processor sees that awaits something which was cancelled."""
    raise asyncio.CancelledError


def stop_iteration(_job: Any) -> None:
    next(iter(()))


def run_a_loop(_job: Any) -> None:
    """Legal where no loop runs, refused by Python itself where one does."""
    asyncio.run(asyncio.sleep(0))
    raise RuntimeError("no loop was running")


class SpeechlessError(Exception):
    """Cannot even say what is wrong."""

    def __str__(self) -> str:
        raise ValueError("no words")


def fail_without_words(_job: Any) -> None:
    raise SpeechlessError


def fail_beyond_unicode(_job: Any) -> None:
    raise RuntimeError("\ud800 is no text")


def spawn(_job: Any, seconds: int) -> None:
    subprocess.Popen(["sleep", str(seconds)])


def fail(_job: Any, message: str) -> None:
    raise RuntimeError(message)


def fail_once(job: Any, message: str) -> None:
    if is_first(f"failure-{job.queue_name}-{job.id}"):
        fail(job, message)


def recurse(job: Any) -> None:
    recurse(job)


def spin(_job: Any, seconds: float) -> None:
    """Hold the processor and the GIL, bytecode by bytecode."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def match_for_ever(_job: Any) -> None:
    """A regular expression that backtracks for centuries; the engine looks for signals now and then."""
    re.match(r"(a+)+$", "a" * 60 + "b")


def hash_for_ever(_job: Any) -> None:
    """Native code without the GIL: handlers of signals run after it, in a day."""
    hashlib.pbkdf2_hmac("sha256", b"password", b"salt", 2**31 - 1)


def hash_for_ever_once(job: Any) -> None:
    if is_first(f"hash-{job.queue_name}-{job.id}"):
        hash_for_ever(job)


def sum_for_ever(_job: Any) -> None:
    """Native code that keeps the GIL: nothing else in this process runs, in any thread."""
    sum(itertools.repeat(1))


# -- those that wait -----------------------------------------------------------------------------------------


def wait(_job: SyncJob, gate: str) -> None:
    """Until the test opens the gate."""
    while not gate_is_open(gate):
        time.sleep(GATE_POLL_S)


def wait_or_abort(job: SyncJob, gate: str) -> None:
    """Until the test opens the gate, or the job's abort signal is set."""
    while not (gate_is_open(gate) or job.abort_signal.aborted):
        time.sleep(GATE_POLL_S)


def ignore_interruptions(job: SyncJob, gate: str) -> None:
    """Swallow whatever is raised in here, as an over-broad handler would."""
    while not gate_is_open(gate):
        try:
            wait(job, gate)
        except BaseException:
            continue


def sleep(_job: SyncJob, seconds: float) -> None:
    time.sleep(seconds)


def log(job: SyncJob, line: str) -> None:
    job.log(line)


def log_until(job: SyncJob, gate: str) -> dict[str, Any]:
    """Log numbered lines without a pause; what the job was told of each of them."""
    told: dict[str, Any] = {"logged": [], "doubtful": []}
    numbers = itertools.count()
    while not gate_is_open(gate):
        number = next(numbers)
        try:
            job.log(f"line {number}")
            told["logged"].append(number)
        except UnknownOutcomeError:
            told["doubtful"].append(number)
    return told


async def log_until_async(job: Job, gate: str) -> dict[str, Any]:
    told: dict[str, Any] = {"logged": [], "doubtful": []}
    numbers = itertools.count()
    while not gate_is_open(gate):
        number = next(numbers)
        try:
            await job.log(f"line {number}")
            told["logged"].append(number)
        except UnknownOutcomeError:
            told["doubtful"].append(number)
    return told


async def wait_async(_job: Job, gate: str) -> None:
    while not gate_is_open(gate):
        await asyncio.sleep(GATE_POLL_S)


async def wait_or_abort_async(job: Job, gate: str) -> None:
    waiting = asyncio.ensure_future(wait_async(job, gate))
    aborted = asyncio.ensure_future(job.abort_signal.wait())
    _, left = await asyncio.wait({waiting, aborted}, return_when=asyncio.FIRST_COMPLETED)
    for task in left:
        task.cancel()


async def sleep_async(_job: Job, seconds: float) -> None:
    await asyncio.sleep(seconds)


async def log_async(job: Job, line: str) -> None:
    await job.log(line)


async def ignore_cancellation(job: Job, gate: str) -> None:
    while not gate_is_open(gate):
        try:
            await wait_async(job, gate)
        except asyncio.CancelledError:
            continue


_COMMON: dict[str, Callable[..., Any]] = {
    deed.__name__: deed
    for deed in (
        die, die_once, read_nowhere, scribble_once, end_process, call_exit, raise_base, interrupt, cancel,
        stop_iteration, run_a_loop, fail_without_words, fail_beyond_unicode, spawn, fail, fail_once, recurse, spin,
        match_for_ever, hash_for_ever, hash_for_ever_once, sum_for_ever,
    )
}  # fmt: skip
_SYNC = _COMMON | {
    deed.__name__: deed for deed in (wait, wait_or_abort, ignore_interruptions, sleep, log, log_until)
}
_ASYNC: dict[str, Callable[..., Awaitable[Any]]] = {
    "wait": wait_async,
    "wait_or_abort": wait_or_abort_async,
    "sleep": sleep_async,
    "log": log_async,
    "log_until": log_until_async,
    "ignore_cancellation": ignore_cancellation,
}


def do_all(job: SyncJob[dict[str, Any], Any]) -> dict[str, Any]:
    """Do what the data says, in order; what the deeds have to tell."""
    told: dict[str, Any] = {}
    for name, *arguments in job.data.get("deeds", ()):
        told |= _SYNC[name](job, *arguments) or {}
    return told


async def do_all_async(job: Job[dict[str, Any], Any]) -> dict[str, Any]:
    """As `do_all`, in a coroutine."""
    told: dict[str, Any] = {}
    for name, *arguments in job.data.get("deeds", ()):
        if name in _ASYNC:
            told |= await _ASYNC[name](job, *arguments) or {}
        else:
            told |= _COMMON[name](job, *arguments) or {}
    return told


def result_of(job: Any, told: dict[str, Any]) -> Any:
    """Whose run this was, and what its data asks for."""
    wanted = job.data.get("returns")
    if wanted == "an object":
        return object()
    answer: dict[str, Any] = {"token": job.token.decode(), **told}
    if isinstance(wanted, int):
        answer["padding"] = "x" * wanted
    return answer
