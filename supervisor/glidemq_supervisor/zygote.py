"""The zygote of `--preload`: a process that has imported the app, holds still, and forks actors on demand."""

from __future__ import annotations

import gc
import json
import logging
import os
import socket
import time
from typing import Any, NoReturn

from glidemq.config import RuntimeConfig
from glidemq.errors import ConfigurationError, GlideMQError
from glidemq.process_spec import EXIT_FAILED, EXIT_OK, EXIT_USAGE, ActorSpec, CellMemory, Crew
from glidemq_supervisor import preload_inspection
from glidemq_supervisor.forker import (
    ChildSetup,
    become_child_of,
    load_entry_point,
    reset_signals,
    run_child,
    set_up_surroundings,
)

log = logging.getLogger("glidemq.supervisor")

MAX_MESSAGE_BYTES = 64 * 1024
MAX_DESCRIPTORS = 64
_ADOPTION_DEADLINE_S = 5.0


class Zygote:
    """Imports the app, reports its manifest, then serves fork requests until the supervisor hangs up.

    A request carries the descriptors that its actor needs, so the zygote itself holds no shared memory. An
    actor is forked twice: its parent ends at once, and the supervisor, which is the subreaper, adopts it.
    So an actor outlives the zygote but not the supervisor.

    Owns: the app, its end of the request socket. Stops when: the supervisor closes the other end, or dies.
    """

    def __init__(
        self, config: RuntimeConfig, requests: socket.socket, supervisor_pid: int, actor_entry_point: str
    ) -> None:
        self._config = config
        self._requests = requests
        self._supervisor_pid = supervisor_pid
        self._actor_entry_point = actor_entry_point
        self._app: Any = None

    def run(self, preload_entry_point: str, app: str, result_fd: int) -> int:
        """Import, report (the manifest, or one line that says what is wrong), serve."""
        try:
            self._app = self._import(preload_entry_point, app)
            report: dict[str, Any] = self._app.manifest(app)
        except GlideMQError as error:
            report = {"error": str(error)}
        with os.fdopen(result_fd, "w") as result:
            json.dump(report, result)
        if "error" in report:
            return EXIT_USAGE
        # What is alive now stays: the collector shall not touch, and so copy, the pages shared with the
        # children.
        gc.collect()
        gc.freeze()
        return self._serve()

    def _import(self, preload_entry_point: str, app: str) -> Any:
        sockets_before = preload_inspection.open_sockets()
        imported = load_entry_point(preload_entry_point)(app)
        left = preload_inspection.leftovers(sockets_before)
        if left:
            raise ConfigurationError(
                f"--preload: importing {app} leaves behind what no fork can use: {', '.join(left)}. "
                "Create it in the processor or at its first use, or start without --preload."
            )
        threads = preload_inspection.native_threads()
        if threads:
            log.warning(
                "--preload: importing %s leaves native threads behind, which no actor process will have: %s",
                app,
                ", ".join(threads),
            )
        return imported

    def _serve(self) -> int:
        while True:
            message, descriptors, _, _ = socket.recv_fds(self._requests, MAX_MESSAGE_BYTES, MAX_DESCRIPTORS)
            for descriptor in descriptors:  # Python 3.11 drops the flag that would ask for this
                os.set_inheritable(descriptor, False)
            if not message:
                return EXIT_OK
            parent = os.fork()
            if parent == 0:
                self._fork_actor(message, descriptors)
            for descriptor in descriptors:
                os.close(descriptor)
            _, wait_status = os.waitpid(parent, 0)
            if wait_status != 0:
                self._answer(message, None)

    def _fork_actor(self, message: bytes, descriptors: list[int]) -> NoReturn:
        """In the parent that is about to leave: fork the actor, tell the supervisor its pid, and make way."""
        status = EXIT_FAILED
        try:
            pid = os.fork()
            if pid == 0:
                spec, setup = self._actor(json.loads(message), descriptors)
                run_child(
                    lambda: self._set_up(setup), lambda: load_entry_point(self._actor_entry_point)(spec)
                )
            # Before this process ends, and so before the supervisor can find an adopted child that it does
            # not know.
            self._answer(message, pid)
            status = EXIT_OK
        except OSError as error:
            log.error("cannot fork: %s", error.strerror)
        finally:
            os._exit(status)

    def _answer(self, message: bytes, pid: int | None) -> None:
        self._requests.send(json.dumps({"key": json.loads(message)["key"], "pid": pid}).encode())

    def _set_up(self, setup: ChildSetup) -> None:
        reset_signals(shrugs_off=True)
        self._requests.close()
        deadline = time.monotonic() + _ADOPTION_DEADLINE_S
        while os.getppid() != self._supervisor_pid:
            if time.monotonic() > deadline:  # the supervisor died in between: PID 1 has adopted this process
                os._exit(EXIT_FAILED)
            time.sleep(0.0002)
        become_child_of(self._supervisor_pid)
        os.setpgid(0, 0)
        set_up_surroundings(setup)

    def _actor(self, request: dict[str, Any], descriptors: list[int]) -> tuple[ActorSpec, ChildSetup]:
        slot, slots = request["slot"], request["slots"]
        board, actor_bell, gateway_bell, supervisor_bell, *segment = descriptors
        nowhere: tuple[int, ...] = ()
        memory = CellMemory(
            board=board,
            # The other actors' descriptors do not exist here.
            actor_segments=tuple(tuple(segment) if index == slot else nowhere for index in range(slots)),
            actor_bells=tuple(actor_bell if index == slot else -1 for index in range(slots)),
            gateway_bell=gateway_bell,
            supervisor_bell=supervisor_bell,
        )
        spec = ActorSpec(
            config=self._config,
            cell=request["cell"],
            slot=slot,
            crew=Crew(request["pool"], request["role"]),
            generation=request["generation"],
            memory=memory,
            supervisor_pid=self._supervisor_pid,
            app=self._app,
        )
        cpus = request["cpus"]
        setup = ChildSetup(
            name=request["name"],
            keep=frozenset(descriptors),
            cpus=None if cpus is None else frozenset(cpus),
        )
        return spec, setup
