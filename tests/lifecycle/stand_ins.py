"""Processes that speak the supervisor's protocol and misbehave on demand, instead of gateway and actors.

They are forked, set up and judged by the real supervisor. A test directs them by files in the directory
that the variable STAND_IN_DIRECTORY names: `orders/<label>` holds one order, which the process takes by
renaming it, and every process appends what happens to it to `journal`.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from glidemq.errors import ConfigurationError
from glidemq.process_spec import (
    EXIT_OK,
    EXIT_UNREACHABLE,
    EXIT_USAGE,
    ActorSpec,
    GatewaySpec,
    ProbeSpec,
)
from glidemq.shared_memory import Control, ProcessState, StatusBoard, StatusSlot, ring_fd

POLL_MS = 10
DIRECTORY_VARIABLE = "STAND_IN_DIRECTORY"


def directory() -> Path:
    return Path(os.environ[DIRECTORY_VARIABLE])


def write_journal(*words: object) -> None:
    line = json.dumps([time.monotonic(), os.getpid(), *words]) + "\n"
    journal = os.open(directory() / "journal", os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.write(journal, line.encode())  # one write, so that lines of several processes do not mix
    finally:
        os.close(journal)


def take_order(label: str) -> list[str]:
    """The order waiting for this process, split into words; empty if there is none."""
    path = directory() / "orders" / label
    taken = path.with_name(f".taken-{label}-{os.getpid()}")
    try:
        path.rename(taken)
    except FileNotFoundError:
        return []
    words = taken.read_text().split()
    taken.unlink()
    return words


def take_first_order(label: str) -> list[str]:
    """The order for before the process is ready: one of its own, or one that stands for all who follow."""
    standing = directory() / "orders" / f"{label}-always"
    return take_order(f"{label}-start") or (standing.read_text().split() if standing.exists() else [])


# -- the app -------------------------------------------------------------------------------------------------


class StandInApp:
    """What `preload` gives: something with a manifest. `settings` comes from the test's `app.json`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.settings: dict[str, Any] = json.loads((directory() / "app.json").read_text())
        for leftover in self.settings.get("leaves", ()):
            leave_behind(leftover)
        error = self.settings.get("error")
        if error == "dies":
            os.kill(os.getpid(), signal.SIGSEGV)
        if error == "hangs":
            time.sleep(3600)
        if error is not None:
            raise ConfigurationError(error)

    def manifest(self, name: str) -> dict[str, Any]:
        queues = self.settings.get("queues", [{"name": "q", "role": "sync", "concurrency": 1}])
        return {"app": name, "queues": queues, "url": self.settings.get("url")}


def preload(app: str) -> StandInApp:
    return StandInApp(app)


def probe(spec: ProbeSpec) -> int:
    write_journal("probe", "started")
    status = EXIT_OK
    try:
        report: dict[str, Any] = preload(spec.app).manifest(spec.app)
    except ConfigurationError as error:
        report = {"error": str(error)}
        status = EXIT_USAGE
    os.write(spec.result_fd, json.dumps(report).encode())
    os.close(spec.result_fd)
    return status


left: list[object] = []


def leave_behind(what: str) -> None:
    """Do what an import must not do in a zygote."""
    if what == "thread":
        left.append(
            thread := threading.Thread(target=time.sleep, args=(3600,), name="app-poller", daemon=True)
        )
        thread.start()
    elif what == "loop":
        import asyncio

        left.append(asyncio.new_event_loop())
    elif what == "socket":
        import socket

        left.append(socket.socketpair())
    else:
        raise AssertionError(what)


# -- actors --------------------------------------------------------------------------------------------------


class StandInActor:
    """Beats, obeys the board, and follows orders."""

    def __init__(self, spec: ActorSpec) -> None:
        self.spec = spec
        self.label = f"actor-{spec.cell}-{spec.slot}"
        self.board = StatusBoard.attach_actor(spec.memory.board, spec.slot + 1)
        self.page: StatusSlot = self.board.slot(spec.slot + 1)
        self.bell = spec.memory.actor_bells[spec.slot]
        self.hanging = False

    def run(self) -> int:
        spec = self.spec
        preloaded = spec.app.name if spec.app is not None else None
        write_journal(self.label, "started", spec.generation, spec.crew.role, preloaded)
        start = take_first_order(self.label)
        if start:
            self.follow(start)
        self.page.ready_ns = time.monotonic_ns()
        write_journal(self.label, "ready", spec.generation)  # before anybody can act on it
        self.say(ProcessState.READY)
        while self.page.control is Control.RUN or self.page.current_seq:
            self.turn()
        write_journal(self.label, "told", self.page.control.name)
        self.say(ProcessState.DRAINED)
        return EXIT_OK

    def turn(self) -> None:
        select.select([self.bell], [], [], POLL_MS / 1000)
        if not self.hanging:
            self.page.beat_ns = time.monotonic_ns()
        order = take_order(self.label)
        if order:
            self.follow(order)

    def follow(self, order: list[str]) -> None:
        verb, *arguments = order
        if verb == "exit":
            os._exit(int(arguments[0]))
        elif verb == "die":
            os.kill(os.getpid(), signal.Signals[arguments[0]])
        elif verb == "begin":  # a job, which may last for ever
            self.page.set_note(f"job {arguments[0]} of 'q'")
            self.page.current_seq = int(arguments[0])
            self.page.held = 1
        elif verb == "end":
            self.page.current_seq = self.page.held = 0
            self.page.set_note("")
            self.page.jobs_done = self.page.jobs_done + 1
        elif verb == "done":
            self.page.jobs_done = self.page.jobs_done + int(arguments[0])
        elif verb == "hang":
            self.hanging = True
        elif verb == "sleep":
            time.sleep(float(arguments[0]))
        elif verb == "raise":
            raise RuntimeError("the stand-in was told to raise")
        elif verb == "subprocess":
            left.append(subprocess.Popen(["sleep", "3600"]))
            write_journal(self.label, "subprocess", left[-1].pid)  # type: ignore[attr-defined]
        elif verb == "grow":
            left.append(bytearray(os.urandom(1 << 20)) * int(arguments[0]))
        elif verb == "look":
            write_journal(self.label, "looked", self.surroundings())
        else:
            raise AssertionError(order)
        write_journal(self.label, "did", verb)

    def surroundings(self) -> dict[str, Any]:
        return {
            "handlers": {
                name: repr(signal.getsignal(signal.Signals[name]))
                for name in (
                    "SIGTERM",
                    "SIGINT",
                    "SIGHUP",
                    "SIGCHLD",
                    "SIGUSR1",
                    "SIGQUIT",
                    "SIGTTIN",
                    "SIGTTOU",
                )
            },
            "cpus": sorted(os.sched_getaffinity(0)),
            "group": os.getpgid(0),
            "parent": os.getppid(),
            "path": sys.path[0],
            "limit": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        }

    def say(self, state: ProcessState) -> None:
        self.page.state = state
        ring_fd(self.spec.memory.gateway_bell)
        ring_fd(self.spec.memory.supervisor_bell)


def actor(spec: ActorSpec) -> int:
    return StandInActor(spec).run()


# -- the gateway ---------------------------------------------------------------------------------------------


class StandInGateway:
    """Harvests the dead, drains when nobody runs a job any more, and ends with its supervisor."""

    def __init__(self, spec: GatewaySpec) -> None:
        self.spec = spec
        self.label = f"gateway-{spec.cell}"
        self.board = StatusBoard.attach(spec.memory.board)
        self.page = self.board.gateway
        self.hanging = False
        self.harvesting = True
        self.obeying = True

    def run(self) -> int:
        spec = self.spec
        queues = sorted(queue["name"] for queue in spec.manifest["queues"])
        write_journal(self.label, "started", spec.generation, spec.consumer, queues)
        start = take_first_order(self.label)
        if start:
            status = self.follow(start)
            if status is not None:
                return status
        self.page.ready_ns = time.monotonic_ns()
        self.page.connected = 1
        write_journal(self.label, "ready", spec.generation)
        self.say(ProcessState.READY)
        while self.page.control is not Control.STOP or not self.obeying:
            select.select([spec.memory.gateway_bell], [], [], POLL_MS / 1000)
            if os.getppid() != spec.supervisor_pid and not self.hanging:
                self.end_as_orphan()
                return EXIT_OK
            if not self.hanging:
                self.turn()
            order = take_order(self.label)
            if order and (status := self.follow(order)) is not None:
                return status
        self.harvest()
        write_journal(self.label, "stopped", spec.generation)
        self.say(ProcessState.STOPPED)
        return EXIT_OK

    def turn(self) -> None:
        self.page.beat_ns = time.monotonic_ns()
        if self.harvesting:
            self.harvest()
        if self.page.control is Control.DRAIN and self.obeying:
            if self.page.state is ProcessState.READY:
                write_journal(self.label, "draining", self.page.deadline_ns)
                self.say(ProcessState.DRAINING)
            busy = any(self.board.slot(index).current_seq for index in range(1, self.board.slots))
            if not busy and self.page.state is ProcessState.DRAINING:
                self.say(ProcessState.DRAINED)

    def harvest(self) -> None:
        for index in range(1, self.board.slots):
            page = self.board.slot(index)
            if page.state is ProcessState.DEAD and page.harvested_generation < page.generation:
                reason = page.kill_reason.name if page.kill_reason else page.gateway_kill_reason.name
                write_journal(self.label, "harvested", index - 1, page.generation, page.exit_status, reason)
                page.current_seq = page.held = 0
                page.harvested_generation = page.generation
                ring_fd(self.spec.memory.supervisor_bell)

    def end_as_orphan(self) -> None:
        write_journal(self.label, "orphaned")
        for index in range(1, self.board.slots):
            pid = self.board.slot(index).pid
            if pid:
                try:
                    os.killpg(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue

    def follow(self, order: list[str]) -> int | None:
        verb, *arguments = order
        write_journal(self.label, "did", verb)
        if verb == "unreachable":
            print("stand-in gateway: cannot reach the server", file=sys.stderr, flush=True)
            return EXIT_UNREACHABLE
        if verb == "exit":
            os._exit(int(arguments[0]))
        elif verb == "die":
            os.kill(os.getpid(), signal.Signals[arguments[0]])
        elif verb == "hang":
            self.hanging = True
        elif verb == "disobey":
            self.obeying = False
        elif verb == "neglect":  # harvest nobody until told "resume"
            self.harvesting = False
        elif verb == "resume":
            self.harvesting = True
        elif verb == "kill":  # an actor whose job overran its timeout
            from glidemq.shared_memory import KillReason

            page = self.board.slot(int(arguments[0]) + 1)
            page.gateway_kill_reason = KillReason.JOB_TIMEOUT
            os.kill(page.pid, signal.SIGKILL)
        elif verb == "wait":  # before it becomes ready
            while not take_order(f"{self.label}-go") and self.page.control is Control.RUN:
                self.page.beat_ns = time.monotonic_ns()
                select.select([], [], [], POLL_MS / 1000)
        else:
            raise AssertionError(order)
        return None

    def say(self, state: ProcessState) -> None:
        self.page.state = state
        ring_fd(self.spec.memory.supervisor_bell)


def gateway(spec: GatewaySpec) -> int:
    return StandInGateway(spec).run()
