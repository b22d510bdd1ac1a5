"""Collecting dead children, and the processes they leave behind."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from signal import Signals

from glidemq_supervisor.forker import kill_process_group


@dataclass(frozen=True, slots=True)
class ChildExit:
    """How a child ended."""

    pid: int
    wait_status: int

    @property
    def code(self) -> int:
        """Exit status, or minus the signal's number."""
        return os.waitstatus_to_exitcode(self.wait_status)

    def __str__(self) -> str:
        if self.code >= 0:
            return f"exited with status {self.code}"
        try:
            return f"was killed by {Signals(-self.code).name}"
        except ValueError:  # real-time signals have no names
            return f"was killed by signal {-self.code}"


class Reaper:
    """Reaps children, and kills what is left of a dead child's process group: the subprocesses of its jobs.

    Owns: nothing.
    """

    def __init__(self) -> None:
        self._children = Path(f"/proc/self/task/{os.getpid()}/children")

    def reap(self, known_pids: Callable[[], Iterable[int]]) -> list[ChildExit]:
        """Those of our children that are dead, as reported by the pids that `known_pids` gives.

        Strangers, orphans that PID 1 or a subreaper has been given, are reaped without a word. They are
        listed before `known_pids` is called, so that a child that becomes known in it is never taken for
        one.
        """
        children = self._list_children()
        known = tuple(known_pids())
        exits = [dead for pid in known if (dead := reap_group_of(pid)) is not None]
        for pid in children.difference(known):
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        return exits

    @staticmethod
    def wait_for(pid: int) -> None:
        """Reap a child that has been killed."""
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        reap_group_of(pid)

    def _list_children(self) -> set[int]:
        try:
            return set(map(int, self._children.read_text().split()))
        except OSError:  # a kernel without CONFIG_PROC_CHILDREN
            return set()


def reap_group_of(pid: int) -> ChildExit | None:
    """Kill the group of the dead child `pid` and reap it; None while it lives.

    In this order: until it is reaped, the zombie keeps its number from being given to a stranger.
    """
    try:
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return None
    except ChildProcessError:  # forked by the zygote, and not adopted yet
        return None
    kill_process_group(pid)
    _, wait_status = os.waitpid(pid, 0)
    return ChildExit(pid, wait_status)
