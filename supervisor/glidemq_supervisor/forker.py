"""Forking a process of the runtime and setting it up before any of its own code runs."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import FrameType
from typing import Any, NoReturn

from glidemq.errors import GlideMQError
from glidemq.process_spec import EXIT_FAILED
from glidemq_supervisor import kernel, logging_setup
from glidemq_supervisor.descriptors import DescriptorLedger
from glidemq_supervisor.signals import HANDLED

log = logging.getLogger("glidemq.supervisor")

# What a terminal (SIGINT, SIGHUP), a service manager or `kill -TERM -1` (SIGTERM) sends to every process of
# the tree. Only the supervisor acts on them and tells its children by the status board: a process that died
# of them in mid-job would turn every orderly stop into a crash. They are caught, not ignored, because an
# ignored signal stays ignored in the programs that a job starts, which could then not be stopped by it.
SHRUGGED_OFF = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM)

# What the kernel sends to a gateway when its supervisor dies.
ORPHANED = signal.SIGUSR2


def shrug_off(_number: int, _frame: FrameType | None) -> None:
    """Handler of the signals that are the supervisor's business."""


@dataclass(frozen=True, slots=True)
class ChildSetup:
    """How a child differs from its supervisor before its entry point is called."""

    name: str  # for `ps` and the log, e.g. "actor 0.3"
    keep: frozenset[int]  # recorded descriptors that it needs
    outlives_parent_s: float = 0.0  # more for the gateway, which first gives its jobs back
    cpus: frozenset[int] | None = None
    shrugs_off_signals: bool = True  # False for the probe, which may die of them
    import_path: str | None = None  # directory put first on sys.path, as for a script that lies there


class Forker:
    """Forks children of the supervisor, from its only thread."""

    def __init__(self, descriptors: DescriptorLedger) -> None:
        self._descriptors = descriptors

    def fork(self, entry_point: str, spec: Any, setup: ChildSetup) -> int:
        """Fork a child that runs `entry_point(spec)`, named "module:function", and exits with its result."""
        return self.fork_call(lambda: load_entry_point(entry_point)(spec), setup)

    def fork_call(self, body: Callable[[], int], setup: ChildSetup) -> int:
        """Fork a child that runs `body` after its set-up and exits with its result; returns its pid.

        Raises OSError when the machine is short of processes or memory.
        """
        parent_pid = os.getpid()
        flush_standard_streams()  # what is buffered now would be written by both
        # Handled by the child before its own handlers stand, a signal would be written to the supervisor's
        # pipe.
        signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
        try:
            pid = os.fork()
            if pid == 0:
                run_child(lambda: self._set_up(parent_pid, setup), body)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
        # Both sides set the group, so that it exists as soon as either side relies on it.
        with contextlib.suppress(OSError):  # the child has set it and may be gone
            os.setpgid(pid, pid)
        return pid

    def _set_up(self, parent_pid: int, setup: ChildSetup) -> None:
        reset_signals(shrugs_off=setup.shrugs_off_signals)
        become_child_of(parent_pid, outlives_it_s=setup.outlives_parent_s)
        os.setpgid(0, 0)
        self._descriptors.close_others(setup.keep)
        set_up_surroundings(setup)


def run_child(set_up: Callable[[], None], body: Callable[[], int]) -> NoReturn:
    """Never returns into the supervisor's code, whatever `set_up` and `body` do."""
    status: Any = EXIT_FAILED
    try:
        set_up()
        status = body()
    except SystemExit as exit_request:
        status = _status_of(exit_request)
    except GlideMQError as error:  # written for the user: says what to do
        log.error("%s", error)
    except BaseException as error:
        log.error("ended by an unexpected %s: %s", type(error).__name__, error, exc_info=_if_debugging())
    finally:
        with contextlib.suppress(BaseException):
            flush_standard_streams()
        os._exit(status if isinstance(status, int) else EXIT_FAILED)


def reset_signals(*, shrugs_off: bool) -> None:
    """Give up the supervisor's handlers, then accept signals again."""
    for number in HANDLED:
        signal.signal(number, signal.SIG_DFL)
    if shrugs_off:
        for number in SHRUGGED_OFF:
            signal.signal(number, shrug_off)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)


def become_child_of(parent_pid: int, *, outlives_it_s: float = 0.0) -> None:
    """Bind this process's life to its parent's, or leave at once if the parent is gone already.

    A process that outlives its parent for a while is given that time by the kernel: it notices for itself and
    ends sooner, and if it hangs then, SIGALRM ends it.
    """
    if outlives_it_s > 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)

        def start_the_clock(_number: int, _frame: FrameType | None) -> None:
            signal.setitimer(signal.ITIMER_REAL, outlives_it_s)

        signal.signal(ORPHANED, start_the_clock)
        kernel.set_parent_death_signal(ORPHANED)
    else:
        kernel.set_parent_death_signal(signal.SIGKILL)
    if os.getppid() != parent_pid:  # it died before the request took effect
        os._exit(EXIT_FAILED)


def set_up_surroundings(setup: ChildSetup) -> None:
    """Name, cores, standard input and import path."""
    kernel.set_process_name("gmq " + setup.name)  # 15 bytes fit
    logging_setup.set_process_label(setup.name)
    if setup.cpus is not None:
        os.sched_setaffinity(0, setup.cpus)
    # Reading the terminal from a process group in the background would stop this process (SIGTTIN).
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    if setup.import_path is not None and setup.import_path not in sys.path:
        sys.path.insert(0, setup.import_path)


def load_entry_point(entry_point: str) -> Callable[[Any], Any]:
    """The function that a "module:function" string names."""
    module_name, _, function_name = entry_point.partition(":")
    function: Callable[[Any], Any] = getattr(importlib.import_module(module_name), function_name)
    return function


def flush_standard_streams() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()


def kill_process_group(pid: int, number: int = signal.SIGKILL) -> None:
    """Signal every process of the group that the child `pid` leads, the child itself included."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, number)


def kill_processes(pids: Iterable[int]) -> None:
    """SIGKILL children of ours that are not reaped yet: their pids cannot be anybody else's."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _status_of(exit_request: SystemExit) -> int:
    if exit_request.code is None:
        return 0
    return exit_request.code if isinstance(exit_request.code, int) else EXIT_FAILED


def _if_debugging() -> bool:
    return log.isEnabledFor(logging.DEBUG)
